//! One scrape, one crossing: all values in one buffer, with the names of those
//! series only that the reader has not seen yet.

use super::Histogram;
use super::counter::BOUNDS;
use std::collections::HashMap;
use std::fmt::Write;

/// The value of a series.
pub(crate) enum Value<'v> {
    /// Only goes up.
    Counter(f64),
    /// Goes up and down.
    Gauge(f64),
    /// Buckets, sum and count.
    Histogram(&'v Histogram),
}

/// One value as a source tells it; the same series may be told several times and adds up.
pub(crate) struct Sample<'s> {
    pub(crate) metric: &'static str,
    pub(crate) labels: &'s [(&'static str, &'s str)],
    pub(crate) value: Value<'s>,
}

/// Gives series their index and collects their values.
#[derive(Default)]
pub(crate) struct Scraper {
    index: HashMap<String, usize>,
    /// The JSON of each series, and where its values start.
    series: Vec<(String, usize)>,
    values: Vec<f64>,
    key: String,
}

impl Scraper {
    /// Starts a scrape: all values are zero.
    pub(crate) fn begin(&mut self) {
        self.values.fill(0.0);
    }

    /// Takes one value.
    pub(crate) fn add(&mut self, sample: &Sample<'_>) {
        let start = self.place(sample);
        match sample.value {
            Value::Counter(value) | Value::Gauge(value) => self.values[start] += value,
            Value::Histogram(histogram) => histogram.add_to(&mut self.values[start..start + Histogram::VALUES]),
        }
    }

    fn place(&mut self, sample: &Sample<'_>) -> usize {
        self.key.clear();
        self.key.push_str(sample.metric);
        for (name, value) in sample.labels {
            let _ = write!(self.key, "\u{1}{name}\u{2}{value}");
        }
        if let Some(index) = self.index.get(&self.key) {
            return self.series[*index].1;
        }
        let (kind, width) = match sample.value {
            Value::Counter(_) => ("counter", 1),
            Value::Gauge(_) => ("gauge", 1),
            Value::Histogram(_) => ("histogram", Histogram::VALUES),
        };
        let labels: serde_json::Map<String, serde_json::Value> =
            sample.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let mut json = serde_json::json!({ "metric": sample.metric, "labels": labels, "kind": kind });
        if kind == "histogram" {
            json["buckets"] = BOUNDS.as_slice().into();
        }
        let start = self.values.len();
        self.values.resize(start + width, 0.0);
        self.index.insert(self.key.clone(), self.series.len());
        self.series.push((json.to_string(), start));
        start
    }

    /// The buffer: length of the JSON (u32), JSON array of the series from `known` on,
    /// padding to 8 bytes, then all values.
    pub(crate) fn finish(&self, known: usize) -> Vec<u8> {
        let new = self.series.get(known..).unwrap_or_default();
        let mut json = String::from("[");
        for (index, (series, _)) in new.iter().enumerate() {
            json.push_str(if index == 0 { "" } else { "," });
            json.push_str(series);
        }
        json.push(']');
        let mut out = Vec::with_capacity(16 + json.len() + self.values.len() * 8);
        out.extend_from_slice(&(json.len() as u32).to_le_bytes());
        out.extend_from_slice(json.as_bytes());
        out.resize(out.len().next_multiple_of(8), 0);
        for value in &self.values {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_named_once_and_adds_up_over_workers() {
        let mut scraper = Scraper::default();
        let sample = |value| Sample { metric: "m", labels: &[("a", "b")], value: Value::Counter(value) };
        for _ in 0..2 {
            scraper.begin();
            scraper.add(&sample(1.0));
            scraper.add(&sample(2.0));
        }
        let first = scraper.finish(0);
        let len = u32::from_le_bytes([first[0], first[1], first[2], first[3]]) as usize;
        assert_eq!(&first[4..4 + len], br#"[{"kind":"counter","labels":{"a":"b"},"metric":"m"}]"#);
        assert_eq!(first.len() % 8, 0);
        assert_eq!(first[first.len() - 8..], 3.0f64.to_le_bytes());
        assert_eq!(&scraper.finish(1)[4..6], b"[]");
    }
}

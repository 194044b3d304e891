//! What a lookup asks for (RFC 9176 section 6.2): attributes with their values, and a page.

use crate::Page;

/// Criteria of one lookup.
const CRITERIA_MAX: usize = 16;

/// The query of a lookup.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Criteria {
    /// Name and value of each; all have to hold.
    pub(crate) wanted: Vec<(Box<str>, Box<str>)>,
    pub(crate) page: Page,
}

impl Criteria {
    /// Reads query parameters.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn parse<'q>(query: impl Iterator<Item = &'q [u8]>) -> Result<Self, &'static str> {
        let mut criteria = Criteria::default();
        let (mut page, mut count) = (None, None);
        for parameter in query {
            let text = std::str::from_utf8(parameter).map_err(|_| "a parameter is not UTF-8")?;
            let (name, value) = text.split_once('=').unwrap_or((text, "*"));
            let number = || value.parse::<usize>().map_err(|_| "page and count are numbers");
            match name {
                "page" => page = Some(number()?),
                "count" => count = Some(number()?),
                _ if criteria.wanted.len() >= CRITERIA_MAX => return Err("too many criteria"),
                name => criteria.wanted.push((name.into(), value.into())),
            }
        }
        criteria.page = match (page, count) {
            (Some(_), None) => return Err("page goes with count"),
            (_, Some(0)) => return Err("count is at least 1"),
            (page, count) => {
                let count = count.unwrap_or(usize::MAX);
                Page { skip: page.unwrap_or(0).saturating_mul(count), count }
            }
        };
        Ok(criteria)
    }
}

/// RFC 6690 section 4.1: a final asterisk stands for any ending; of several values
/// between spaces one has to fit.
pub(crate) fn fits(value: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => value.starts_with(start) || value.split(' ').any(|one| one.starts_with(start)),
        None => value == wanted || value.split(' ').any(|one| one == wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_criteria_are_told_apart() {
        let of = |query: &[&str]| Criteria::parse(query.iter().map(|parameter| parameter.as_bytes()));
        let criteria = of(&["rt=temp*", "page=2", "count=10", "obs"]).expect("valid");
        assert_eq!(criteria.page, Page { skip: 20, count: 10 });
        assert_eq!(criteria.wanted, [("rt".into(), "temp*".into()), ("obs".into(), "*".into())]);
        assert_eq!(of(&["count=3"]).expect("valid").page, Page { skip: 0, count: 3 });
        for bad in [&["page=1"][..], &["count=0"], &["count=x"], &["page=-1", "count=1"]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_value_fits_whole_by_its_start_or_by_one_of_its_words() {
        assert!(fits("a b", "b") && fits("a b", "a b") && fits("temp", "te*") && fits("", "*"));
        assert!(!fits("ab", "a") && !fits("temp", "x*") && !fits("a b", "c"));
    }
}

//! The list of topic filters of a SUBSCRIBE or UNSUBSCRIBE: bytes that were
//! validated, read again when the filters are wanted.

use crate::connect::Version;
use crate::rules::{ensure, malformed, protocol, short};
use crate::text::{check_filter, split_share, string};
use tidegate_kit::{DecodeError, Reader, put_prefixed};
use tidegate_message::Qos;

/// Whether a new subscription gets retained messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    #[default]
    Send = 0,
    /// Where the subscription did not exist.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

/// Subscription options; before version 5 all but the QoS have their defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// The highest promise of deliveries.
    pub qos: Qos,
    /// Not what this client publishes itself. Default `false`.
    pub no_local: bool,
    /// Keep the RETAIN flag as it was published. Default `false`.
    pub retain_as_published: bool,
    /// Whether retained messages are sent now.
    pub retain_handling: RetainHandling,
}

impl Options {
    /// The options byte.
    pub const fn bits(self) -> u8 {
        let flags = (self.no_local as u8) << 2 | (self.retain_as_published as u8) << 3;
        self.qos as u8 | flags | (self.retain_handling as u8) << 4
    }

    fn from_bits(version: Version, bits: u8) -> Result<Options, DecodeError> {
        // MQTT3-3.8.3-4, MQTT-3.8.3-5
        let reserved = if version.is_v5() { 0xc0 } else { 0xfc };
        ensure(bits & reserved == 0, malformed("MQTT-3.8.3-5", "reserved subscription options are set"))?;
        Ok(Options {
            qos: Qos::from_bits(bits & 3).ok_or(malformed("MQTT5 section 3.8.3.1", "the QoS is 3"))?,
            no_local: bits & 4 != 0,
            retain_as_published: bits & 8 != 0,
            retain_handling: match bits >> 4 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(protocol("MQTT5 section 3.8.3.1", "the retain handling is 3")),
            },
        })
    }
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscription<'a> {
    /// As sent; `$share/group/filter` where it is shared (see `split_share`).
    pub filter: &'a str,
    /// Its options.
    pub options: Options,
}

/// Validated filters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filters<'a> {
    bytes: &'a [u8],
    options: bool,
}

impl<'a> Filters<'a> {
    /// Filters with options, to the packet's end: at least one (MQTT-3.8.3-2).
    pub(crate) fn read_subscriptions(
        version: Version,
        reader: &mut Reader<'a>,
        levels: usize,
    ) -> Result<Self, DecodeError> {
        let bytes = reader.all();
        let mut rest = Reader::new(bytes);
        ensure(!bytes.is_empty(), protocol("MQTT-3.8.3-2", "a SUBSCRIBE names no filter"))?;
        while !rest.is_empty() {
            let filter = string(&mut rest)?;
            check_filter(filter, levels)?;
            let options = Options::from_bits(version, rest.u8().map_err(short)?)?;
            // MQTT-3.8.3-4
            let fits = !options.no_local || split_share(filter)?.is_none();
            ensure(fits, protocol("MQTT-3.8.3-4", "no local on a shared subscription"))?;
        }
        Ok(Filters { bytes, options: true })
    }

    /// Filters alone, to the packet's end: at least one (MQTT-3.10.3-2).
    pub(crate) fn read_names(reader: &mut Reader<'a>, levels: usize) -> Result<Self, DecodeError> {
        let bytes = reader.all();
        let mut rest = Reader::new(bytes);
        ensure(!bytes.is_empty(), protocol("MQTT-3.10.3-2", "an UNSUBSCRIBE names no filter"))?;
        while !rest.is_empty() {
            check_filter(string(&mut rest)?, levels)?;
        }
        Ok(Filters { bytes, options: false })
    }

    /// The filters in their order; options are the defaults in an UNSUBSCRIBE.
    pub fn iter(self) -> impl Iterator<Item = Subscription<'a>> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || {
            let filter = string(&mut reader).ok()?;
            let bits = if self.options { reader.u8().ok()? } else { 0 };
            Some(Subscription { filter, options: Options::from_bits(Version::V5, bits).ok()? })
        })
    }

    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes);
    }
}

/// Filters in the making, for whoever sends a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FilterList {
    bytes: Vec<u8>,
}

impl FilterList {
    /// Appends a filter with options: for a SUBSCRIBE.
    pub fn push(&mut self, filter: &str, options: Options) -> &mut Self {
        self.push_name(filter);
        self.bytes.push(options.bits());
        self
    }

    /// Appends a filter alone: for an UNSUBSCRIBE.
    pub fn push_name(&mut self, filter: &str) -> &mut Self {
        put_prefixed(&mut self.bytes, filter.as_bytes());
        self
    }

    /// For a SUBSCRIBE to carry.
    pub fn subscriptions(&self) -> Filters<'_> {
        Filters { bytes: &self.bytes, options: true }
    }

    /// For an UNSUBSCRIBE to carry.
    pub fn names(&self) -> Filters<'_> {
        Filters { bytes: &self.bytes, options: false }
    }
}

//! Packets of every version: what was read is written and read again the same, and
//! none of its prefixes is anything but incomplete.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_kit::Codec;
use tidegate_message::Limits;
use tidegate_mqtt::{MqttCodec, Version};

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    for version in [Version::V31, Version::V311, Version::V5] {
        let mut codec = MqttCodec::with_version(&limits, version);
        let Ok(Some((packet, used))) = codec.decode(input) else { continue };
        assert!(used <= input.len());
        if used <= 256 {
            (0..used).for_each(|end| assert_eq!(codec.decode(&input[..end]), Ok(None), "{end} of {used} bytes"));
        }
        let mut out = Vec::new();
        packet.encode(version, &mut out);
        let again = MqttCodec::with_version(&limits, version).decode(&out);
        assert_eq!(again, Ok(Some((packet, out.len()))), "{version:?}");
    }
});

//! The lines of an outbox file.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::Event;

/// The version of the outbox format that is written, and the newest one that can be read.
///
/// - 1: the first.
/// - 2: the event `lost`, and `inputs` in the start of a run.
/// - 3: the events `observed` and `node_seen`.
pub const OUTBOX_VERSION: u32 = 3;

/// The maximum length of a line, for writing and reading. Together with the buffer of the reader, it bounds the memory of a
/// delivery.
pub(crate) const MAX_RECORD_BYTES: usize = 32 << 20;

const FORMAT: &str = "daglight_outbox";
const CHECKSUM_KEY: &[u8] = br#"{"crc32":""#;
const CHECKSUM_HEX: usize = 8;
const BODY_KEY: &[u8] = br#"","record":"#;
const PREFIX: usize = CHECKSUM_KEY.len() + CHECKSUM_HEX + BODY_KEY.len();

/// The first line of an outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: String,
    pub(crate) version: u32,
}

impl Header {
    pub(crate) fn current() -> Self {
        Self { format: FORMAT.to_owned(), version: OUTBOX_VERSION }
    }
}

/// A line after reading.
#[derive(Debug, PartialEq)]
pub(crate) enum Record {
    Header(Header),
    Event(Box<Event<Value>>),
}

/// Appends a whole line, including the line feed.
pub(crate) fn encode(record: &impl Serialize, line: &mut Vec<u8>) -> serde_json::Result<()> {
    let start = line.len();
    line.extend_from_slice(CHECKSUM_KEY);
    line.extend_from_slice(&[b'0'; CHECKSUM_HEX]);
    line.extend_from_slice(BODY_KEY);
    serde_json::to_writer(&mut *line, record)?;
    let checksum = hexadecimal(crc32fast::hash(&line[start + PREFIX..]));
    line[start + CHECKSUM_KEY.len()..][..CHECKSUM_HEX].copy_from_slice(&checksum);
    line.extend_from_slice(b"}\n");
    Ok(())
}

fn hexadecimal(checksum: u32) -> [u8; CHECKSUM_HEX] {
    std::array::from_fn(|digit| b"0123456789abcdef"[(checksum >> (28 - 4 * digit)) as usize & 0xf])
}

/// Reads a line without its line feed. `None` if it is torn, was changed, or is unknown to this version.
pub(crate) fn decode(line: &[u8]) -> Option<Record> {
    let rest = line.strip_prefix(CHECKSUM_KEY)?;
    let (checksum, rest) = rest.split_at_checked(CHECKSUM_HEX)?;
    let body = rest.strip_prefix(BODY_KEY)?.strip_suffix(b"}")?;
    let checksum = u32::from_str_radix(str::from_utf8(checksum).ok()?, 16).ok()?;
    if crc32fast::hash(body) != checksum {
        return None;
    }
    match serde_json::from_slice(body) {
        // The largest record by far bypasses the buffering that serde needs to find out the type of an event.
        Ok(Tag { event: Some("version") }) => {
            let version = serde_json::from_slice(body).ok()?;
            Some(Record::Event(Box::new(Event::Version(version))))
        }
        Ok(Tag { event: None }) => {
            let header: Header = serde_json::from_slice(body).ok()?;
            (header.format == FORMAT).then_some(Record::Header(header))
        }
        _ => serde_json::from_slice(body).ok().map(|event| Record::Event(Box::new(event))),
    }
}

/// The type of a record.
#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow)]
    event: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn line() -> Vec<u8> {
        let event: Event = Event::TaskStarted {
            node: "größe\n".into(),
            time: DateTime::from_timestamp(1_795_000_000, 5).unwrap(),
        };
        let mut line = Vec::new();
        encode(&event, &mut line).unwrap();
        line
    }

    #[test]
    fn a_line_is_json_with_a_checksum() {
        let line = String::from_utf8(line()).unwrap();
        assert_eq!(
            line,
            "{\"crc32\":\"8962629c\",\"record\":{\"event\":\"task_started\",\"node\":\"größe\\n\",\"time\":\"2026-11-18T11:06:40.000000005Z\"}}\n"
        );
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["record"]["node"], "größe\n");
    }

    #[test]
    fn every_single_bit_counts() {
        let line = line();
        let line = &line[..line.len() - 1];
        assert!(decode(line).is_some());
        for bit in 0..line.len() * 8 {
            let mut flipped = line.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Hexadecimal digits may be upper or lower case.
            if !flipped.eq_ignore_ascii_case(line) {
                assert_eq!(decode(&flipped), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn every_truncation_is_seen() {
        let line = line();
        for length in 0..line.len() - 1 {
            assert_eq!(decode(&line[..length]), None, "{length} bytes");
        }
    }
}

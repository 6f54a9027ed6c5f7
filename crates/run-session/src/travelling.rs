//! What a query takes with it to the workers of a cluster.

use std::fmt::Write as _;

use opentelemetry::Context;

use crate::query_place::QueryPlace;

/// The headers of the trace, and of who asks. What may have characters that a header has not is written with their bytes as `%XX`.
pub(crate) fn headers(place: &QueryPlace, below: &Context) -> Vec<(&'static str, String)> {
    let run = &place.run().context;
    let trace = run.shared.bridge.child_environment(below);
    let of_trace = [("TRACEPARENT", "traceparent"), ("TRACESTATE", "tracestate"), ("BAGGAGE", "baggage")];
    let of_trace = of_trace.into_iter().filter_map(|(name, header)| Some((header, trace.get(name)?.clone())));
    let of_run = [
        ("x-daglight-run", run.run_id.to_string()),
        ("x-daglight-dag", percent_encoded(run.dag.name().as_str())),
    ];
    let of_node = place.node_name().map(|node| ("x-daglight-node", percent_encoded(node)));
    of_trace.chain(of_run).chain(of_node).collect()
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' => encoded.push_str("%25"),
            b' '..=b'~' => encoded.push(byte.into()),
            _ => _ = write!(encoded, "%{byte:02X}"),
        }
    }
    encoded
}

/// The text that was encoded so; what is not text stays as it is.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = behind.get(..2).filter(|_| *first == b'%');
        let byte = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_travels() {
        for name in ["a", "50 % of ü\n", "%41", ""] {
            let travels = percent_encoded(name);
            assert!(travels.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{travels}");
            assert_eq!(decoded(&travels), name);
        }
    }
}

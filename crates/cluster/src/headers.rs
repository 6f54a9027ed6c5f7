//! What a query takes with it to those who execute it.

/// The headers that a worker passes to its listener: the trace, and who asks.
pub const HEADERS: [&str; 7] = [
    "traceparent",
    "tracestate",
    "baggage",
    "x-daglight-run",
    "x-daglight-dag",
    "x-daglight-node",
    "x-daglight-query",
];

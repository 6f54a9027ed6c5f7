//! Continuing a trace from the process that started this one, and passing it on to processes that this one starts.
//!
//! The variables are `TRACEPARENT`, `TRACESTATE` and `BAGGAGE`: the names of the W3C headers in upper case, as in the specification
//! of environment carriers.

use std::collections::BTreeMap;

use opentelemetry::{
    Context,
    baggage::BaggageExt as _,
    propagation::{Extractor, Injector, TextMapCompositePropagator, TextMapPropagator},
    trace::TraceContextExt as _,
};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};

use crate::{environment::Propagators, traceparent::TRACEPARENT};

/// The names of the variables.
pub(crate) const VARIABLES: [&str; 3] = [TRACEPARENT, "TRACESTATE", "BAGGAGE"];

/// The context that the variables describe; `None` if they do not describe one.
pub(crate) fn extract(variables: &BTreeMap<String, String>, propagators: Propagators) -> Option<Context> {
    let context = together(propagators).extract_with_context(&Context::new(), &Variables(variables));
    let says_something = context.span().span_context().is_valid() || !context.baggage().is_empty();
    says_something.then_some(context)
}

/// The variables that describe `context`.
pub(crate) fn inject(context: &Context, propagators: Propagators) -> BTreeMap<String, String> {
    let mut variables = Collected(BTreeMap::new());
    together(propagators).inject_context(context, &mut variables);
    variables.0.retain(|_, value| !value.is_empty());
    variables.0
}

/// All propagators combined.
pub(crate) fn together(propagators: Propagators) -> TextMapCompositePropagator {
    let mut chosen: Vec<Box<dyn TextMapPropagator + Send + Sync>> = Vec::new();
    if propagators.trace_context {
        chosen.push(Box::new(TraceContextPropagator::new()));
    }
    if propagators.baggage {
        chosen.push(Box::new(BaggagePropagator::new()));
    }
    TextMapCompositePropagator::new(chosen)
}

struct Variables<'a>(&'a BTreeMap<String, String>);

impl Extractor for Variables<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(&variable(key)).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

struct Collected(BTreeMap<String, String>);

impl Injector for Collected {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(variable(key), value);
    }
}

fn variable(key: &str) -> String {
    key.to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Propagators = Propagators { trace_context: true, baggage: true };
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn variables<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_is_taken_over_is_given_on() {
        let given = variables([("TRACEPARENT", PARENT), ("TRACESTATE", "a=b"), ("BAGGAGE", "team=data")]);
        let context = extract(&given, BOTH).unwrap();
        assert!(context.span().span_context().is_remote());
        assert_eq!(inject(&context, BOTH), given);
        let traces_only = Propagators { baggage: false, ..BOTH };
        assert!(!inject(&context, traces_only).contains_key("BAGGAGE"));
    }

    #[test]
    fn what_describes_nothing_is_not_a_parent() {
        assert!(extract(&variables([]), BOTH).is_none());
        assert!(extract(&variables([("TRACEPARENT", "00-zero-zero-01")]), BOTH).is_none());
        let neither = Propagators { trace_context: false, baggage: false };
        assert!(extract(&variables([("TRACEPARENT", PARENT)]), neither).is_none());
    }
}

//! Bars and the axis above them, as inline SVG that scales with its column.

use daglight_run_bundle::NodeStatus;
use maud::{Markup, Render, html};

use crate::{display, report::NodeReport};

/// The time axis of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    duration_ms: f64,
    step_ms: f64,
}

impl Axis {
    /// An axis with at most five ticks, at round times.
    pub(crate) fn of(duration_ms: f64) -> Self {
        let duration_ms = if duration_ms.is_finite() { duration_ms.max(0.001) } else { 0.001 };
        let rough_ms = duration_ms / 5.0;
        let magnitude = 10f64.powf(rough_ms.log10().floor());
        // Steps that people count in.
        let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * magnitude >= rough_ms);
        Self { duration_ms, step_ms: factor.unwrap_or(10.0) * magnitude }
    }

    pub(crate) fn duration_ms(&self) -> f64 {
        self.duration_ms
    }

    fn percent(&self, ms: f64) -> f64 {
        (ms / self.duration_ms * 100.0).clamp(0.0, 100.0)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (step_ms, duration_ms) = (self.step_ms, self.duration_ms);
        (0..=5).map(move |number| f64::from(number) * step_ms).take_while(move |ms| *ms <= duration_ms)
    }

    fn grid(&self) -> Markup {
        html! {
            @for ms in self.ticks() {
                @let x = self.percent(ms);
                line x1=(Percent(x)) x2=(Percent(x)) y1="0" y2="100%" {}
            }
        }
    }
}

/// The ticks' times. A label that would leave the column ends at its tick.
impl Render for Axis {
    fn render(&self) -> Markup {
        html! {
            svg.axis width="100%" height="16" role="presentation" {
                @for ms in self.ticks() {
                    @let x = self.percent(ms);
                    text x=(Percent(x)) y="12" text-anchor=(if x > 90.0 { "end" } else { "start" }) {
                        @if ms == 0.0 { "0" } @else { (display::duration(ms)) }
                    }
                }
            }
        }
    }
}

/// The bar of a node on the axis. A bar is never too thin to be seen.
pub(crate) fn bar(node: &NodeReport, axis: &Axis) -> Markup {
    html! {
        svg.bar width="100%" height="18" role="presentation" {
            (axis.grid())
            @if let Some(start_ms) = node.start_ms {
                @let duration_ms = node.duration_ms.unwrap_or(axis.duration_ms - start_ms);
                @let x = axis.percent(start_ms).min(99.5);
                @let width = (axis.percent(start_ms + duration_ms) - x).max(0.4);
                rect class=(bar_class(node)) x=(Percent(x)) y="4" width=(Percent(width)) height="10" rx="2" {
                    title { "+" (display::duration(start_ms)) " for " (display::duration(duration_ms)) }
                }
            }
        }
    }
}

fn bar_class(node: &NodeReport) -> &'static str {
    match node.status {
        NodeStatus::Failure | NodeStatus::Interrupted => "failed",
        NodeStatus::Unfinished => "unfinished",
        _ if node.on_critical_path => "on-path",
        _ => "off-path",
    }
}

/// A bar for a part of a whole, from 0 to 1.
pub(crate) fn share(part: f64) -> Markup {
    let width = if part.is_finite() { (part * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    html! {
        svg.share width="100%" height="10" role="presentation" {
            rect.rest width="100%" height="10" rx="2" {}
            rect.part width=(Percent(width)) height="10" rx="2" {}
        }
    }
}

/// A length in an image, as a part of its width.
struct Percent(f64);

impl Render for Percent {
    fn render_to(&self, buffer: &mut String) {
        maud::display(format_args!("{:.2}%", self.0)).render_to(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_ticks(duration_ms: f64, expected: &[f64]) {
        assert_eq!(Axis::of(duration_ms).ticks().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn ticks_are_round_and_few() {
        check_ticks(100.0, &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        check_ticks(1_240.0, &[0.0, 500.0, 1_000.0]);
        check_ticks(9_999.0, &[0.0, 2_000.0, 4_000.0, 6_000.0, 8_000.0]);
        assert!(Axis::of(0.0).ticks().count() <= 6);
        assert!(Axis::of(f64::NAN).ticks().count() <= 6);
    }
}

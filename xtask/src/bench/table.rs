//! The table of all ratios.

use std::fmt::Write as _;

use bench_ratios::Ratio;

/// Between two measurements of one thing on a noisy machine.
const NOISE: f64 = 0.05;

/// A row for each ratio, with its target and, where there is a baseline, with what it was then.
pub(super) fn table(ratios: &[Ratio], baseline: Option<&[Ratio]>) -> String {
    let width =
        |of: fn(&Ratio) -> &str| ratios.iter().map(|ratio| of(ratio).chars().count()).max().unwrap_or(0);
    let (bench, what) = (width(|ratio| &ratio.bench).max("bench".len()), width(|ratio| &ratio.what));
    let mut rows = format!("{:<bench$}  {:<what$}  {:>7}  {:>7}", "bench", "", "ratio", "target");
    if baseline.is_some() {
        let _ = write!(rows, "  {:>8}  {:>7}", "baseline", "change");
    }
    rows.push('\n');
    for ratio in ratios {
        let target = ratio.target.map_or_else(|| "-".to_owned(), |target| format!("{target:.3}"));
        let mut row =
            format!("{:<bench$}  {:<what$}  {:>7.3}  {target:>7}", ratio.bench, ratio.what, ratio.ratio);
        if let Some(baseline) = baseline {
            match earlier(ratio, baseline) {
                Some(earlier) => {
                    let change = ratio.ratio / earlier - 1.0;
                    let _ = write!(row, "  {earlier:>8.3}  {:>+6.1}%", change * 100.0);
                    if change > NOISE {
                        row.push_str("  slower");
                    }
                }
                None => row.push_str("         -        -"),
            }
        }
        if ratio.target.is_some_and(|target| ratio.ratio > target) {
            row.push_str("  over the target");
        }
        rows.push_str(&row);
        rows.push('\n');
    }
    for gone in baseline.unwrap_or_default() {
        if earlier(gone, ratios).is_none() {
            let _ = writeln!(
                rows,
                "{:<bench$}  {}: {:.3} in the baseline, not measured",
                gone.bench, gone.what, gone.ratio
            );
        }
    }
    rows
}

/// The same thing in other ratios.
fn earlier(ratio: &Ratio, among: &[Ratio]) -> Option<f64> {
    let same = |other: &&Ratio| other.bench == ratio.bench && other.what == ratio.what;
    among.iter().find(same).map(|other| other.ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratios() -> [Ratio; 2] {
        [Ratio::new("overhead", "SF1, wall", 1.25).target(1.01), Ratio::new("span", "beside the SDK", 2.0)]
    }

    #[test]
    fn a_ratio_has_its_target_and_says_where_it_is_over_it() {
        assert_eq!(
            table(&ratios(), None),
            "bench                       ratio   target\n\
             overhead  SF1, wall         1.250    1.010  over the target\n\
             span      beside the SDK    2.000        -\n"
        );
    }

    #[test]
    fn a_baseline_shows_what_changed_what_is_new_and_what_is_gone() {
        let baseline =
            [Ratio::new("overhead", "SF1, wall", 1.0).target(1.01), Ratio::new("report", "time", 0.5)];
        assert_eq!(
            table(&ratios(), Some(&baseline)),
            "bench                       ratio   target  baseline   change\n\
             overhead  SF1, wall         1.250    1.010     1.000   +25.0%  slower  over the target\n\
             span      beside the SDK    2.000        -         -        -\n\
             report    time: 0.500 in the baseline, not measured\n"
        );
    }
}

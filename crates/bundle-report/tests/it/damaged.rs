//! Bundles that are damaged at random: whatever is in their files, they are reported, compared and exported.
//!
//! The seeds are those of the fuzz target, which looks for more of the kind.

use std::{fs, io, path::Path};

use daglight_bundle_report::{ComparedRun, Comparison, ExportFormat, ExportSignal, Report, export};
use daglight_run_bundle::Bundle;
use daglight_run_identity::RunId;

/// Damages of each seed.
const DAMAGES: u64 = 40;

const FILES: [(&str, &str); 8] = [
    ("manifest", "manifest.json"),
    ("artifacts", "artifacts.json"),
    ("heartbeat", "heartbeat.json"),
    ("traces", "otel_traces.json"),
    ("metrics", "otel_metrics.json"),
    ("logs", "otel_logs.json"),
    ("plan", "plans/a-0123456789abcdef.json"),
    ("outbox", "tracker/outbox.jsonl"),
];

/// Numbers that look random, and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

fn damaged(text: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const PIECES: [&[u8]; 12] = [
        b"null",
        b"-1",
        b"1e999",
        b"18446744073709551615",
        b"\"\"",
        b"[]",
        b"{}",
        b"\n",
        b"\xff",
        b"\\u0000",
        b"\"",
        b"999999999999",
    ];
    let mut text = text.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(text.len());
        match numbers.below(4) {
            0 => text.truncate(at),
            1 => text[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << numbers.below(8)),
            2 => drop(text.splice(at..at, PIECES[numbers.below(PIECES.len())].iter().copied())),
            // The number or the word that stands there becomes another one.
            _ => {
                let end =
                    text[at..].iter().position(|byte| b",}]\n".contains(byte)).map_or(at, |end| at + end);
                text.splice(at..end, PIECES[numbers.below(PIECES.len())].iter().copied());
            }
        }
    }
    text
}

fn fill(bundle: &Bundle, seed: &str, numbers: Option<&mut Numbers>) {
    let parts: Vec<(&str, &str)> = seed.split("== ").filter_map(|part| part.split_once('\n')).collect();
    let chosen = numbers.map(|numbers| (numbers.below(parts.len()), numbers));
    let (chosen, mut numbers) = chosen.unzip();
    for (position, (name, content)) in parts.into_iter().enumerate() {
        let Some((_, path)) = FILES.iter().find(|(known, _)| *known == name) else { continue };
        let content = match &mut numbers {
            Some(numbers) if chosen == Some(position) => damaged(content.as_bytes(), numbers),
            _ => content.as_bytes().to_vec(),
        };
        fs::write(bundle.dir().join(path), content).unwrap();
    }
}

/// Reads a bundle in every way, and says whether there was a report of it.
fn read(bundle: &Bundle) -> bool {
    drop(bundle.verify());
    for format in [ExportFormat::Perfetto, ExportFormat::Speedscope, ExportFormat::Otlp(ExportSignal::Traces)]
    {
        export(bundle, format, &mut io::sink()).unwrap();
    }
    // Only a newer format is refused.
    let Ok(run) = ComparedRun::read(bundle) else { return false };
    assert_eq!(run.report.to_html().matches("<script").count(), 2);
    assert!(!run.report.to_markdown().is_empty());
    let comparison = Comparison::new(std::slice::from_ref(&run), &run).unwrap();
    assert_eq!(comparison.to_html().matches("<script").count(), 2);
    let json = serde_json::to_string(&run.report).unwrap();
    serde_json::from_str::<Report>(&json).unwrap();
    true
}

#[test]
fn a_damaged_bundle_is_read_as_far_as_it_goes() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/bundle");
    let (mut numbers, mut read_count, mut count) = (Numbers(7), 0, 0);
    for seed in fs::read_dir(seeds).unwrap() {
        let seed = String::from_utf8(fs::read(seed.unwrap().path()).unwrap()).unwrap();
        for damage in 0..=DAMAGES {
            let out = tempfile::tempdir().unwrap();
            let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
            fs::create_dir_all(bundle.tracker_dir()).unwrap();
            fill(&bundle, &seed, (damage > 0).then_some(&mut numbers));
            count += 1;
            read_count += u64::from(read(&bundle));
        }
    }
    assert!(count > 100 && read_count * 10 > count * 9, "{read_count} of {count} were read");
}

//! Bundles that are damaged at random: whatever is in their files, they are reported, compared and exported.
//!
//! The seeds are those of the fuzz target, which looks for more of the kind.

use std::{fs, io, path::Path};

use daglight_bundle_report::{
    ComparedRun, Comparison, ExportError, ExportFormat, ExportSignal, Report, export,
};
use daglight_run_bundle::Bundle;
use daglight_run_identity::RunId;
use fastrand::Rng;

/// Damages of each seed.
const DAMAGES: u64 = 40;

fn damaged(text: &[u8], random: &mut Rng) -> Vec<u8> {
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
    for _ in 0..=random.usize(..4) {
        let at = random.usize(..=text.len());
        match random.usize(..4) {
            0 => text.truncate(at),
            1 => text[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << random.usize(..8)),
            2 => drop(text.splice(at..at, PIECES[random.usize(..PIECES.len())].iter().copied())),
            // The number or the word that stands there becomes another one.
            _ => {
                let end =
                    text[at..].iter().position(|byte| b",}]\n".contains(byte)).map_or(at, |end| at + end);
                text.splice(at..end, PIECES[random.usize(..PIECES.len())].iter().copied());
            }
        }
    }
    text
}

fn fill(bundle: &Bundle, seed: &str, random: Option<&mut Rng>) {
    let parts: Vec<(&str, &str)> = seed.split("== ").filter_map(|part| part.split_once('\n')).collect();
    let chosen = random.map(|random| (random.usize(..parts.len()), random));
    let (chosen, mut random) = chosen.unzip();
    for (position, (name, content)) in parts.into_iter().enumerate() {
        let content = match &mut random {
            Some(random) if chosen == Some(position) => damaged(content.as_bytes(), random),
            _ => content.as_bytes().to_vec(),
        };
        fs::write(bundle.dir().join(name), content).unwrap();
    }
}

/// Reads a bundle in every way, and says whether there was a report of it.
fn read(bundle: &Bundle) -> bool {
    drop(bundle.verify());
    for format in [ExportFormat::Perfetto, ExportFormat::Speedscope, ExportFormat::Otlp(ExportSignal::Traces)]
    {
        let exported = export(bundle, format, &mut io::sink());
        assert!(matches!(exported, Ok(_) | Err(ExportError::Unreadable { .. })), "{exported:?}");
    }
    // Only a newer format is refused.
    let Ok(run) = ComparedRun::read(bundle) else { return false };
    assert_eq!(run.report.to_html().matches("<script").count(), 3);
    assert!(!run.report.to_markdown().is_empty());
    let comparison = Comparison::new(std::slice::from_ref(&run), &run).unwrap();
    assert_eq!(comparison.to_html().matches("<script").count(), 3);
    let json = serde_json::to_string(&run.report).unwrap();
    serde_json::from_str::<Report>(&json).unwrap();
    true
}

#[test]
fn a_damaged_bundle_is_read_as_far_as_it_goes() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds/bundle");
    let (mut random, mut read_count, mut count, mut compared) = (Rng::with_seed(7), 0, 0, 0);
    for seed in fs::read_dir(seeds).unwrap() {
        let seed = String::from_utf8(fs::read(seed.unwrap().path()).unwrap()).unwrap();
        for damage in 0..=DAMAGES {
            let out = tempfile::tempdir().unwrap();
            // The last run, which is damaged in another way, and the run.
            let [_, bundle] = [(); 2].map(|()| {
                let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
                fs::create_dir_all(bundle.tracker_dir()).unwrap();
                fill(&bundle, &seed, (damage > 0).then_some(&mut random));
                bundle
            });
            count += 1;
            read_count += u64::from(read(&bundle));
            compared += u64::from(Report::from_bundle(&bundle).is_ok_and(|report| report.since.is_some()));
        }
    }
    assert!(compared > DAMAGES / 2, "{compared} had a last run");
    assert!(count > 100 && read_count * 10 > count * 9, "{read_count} of {count} were read");
}

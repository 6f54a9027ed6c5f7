//! A program with Daglight whose run ends in one of several ways, for tests of what is known about it afterwards.

#![expect(clippy::panic, reason = "one of the endings is a panic")]

use std::{
    convert::Infallible,
    fs::{self, File},
    future::pending,
    hint::spin_loop,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use daglight::{
    OnInterrupt,
    prelude::{Dag, Run, RunOptions, Telemetry},
};
use tokio::runtime::Builder;

#[derive(Parser)]
struct Arguments {
    ending: Ending,
}

/// What becomes of the run when its first node has ended.
#[derive(Clone, Copy, ValueEnum)]
enum Ending {
    /// All nodes end, and so does the run.
    Finish,
    /// The code of a node panics.
    Panic,
    /// A node fails, and the program returns its error without a word to the run.
    Error,
    /// The run is dropped without its finish.
    Drop,
    /// The disk with the bundle is filled before the last node, and the run ends as it should.
    FullDisk,
    /// The same, and there is space again in the last node.
    FullForAWhile,
    /// A node goes on until a signal comes, which the run ends with.
    Interrupted,
    /// A node computes without ever giving way until a signal comes, and then ends; others are to run after it.
    Computing,
    /// A node computes on the only thread of its runtime without ever giving way, and a signal comes.
    Spinning,
    /// A signal comes when the work is done, and a task of the runtime's only thread computes.
    SpinningAtTheEnd,
    /// A node goes on until a signal comes, which nobody waits for.
    Unprepared,
    /// A node waits for something that does not come, on the only thread of its runtime and without ever giving way.
    Blocked,
}

fn main() -> Result<ExitCode> {
    let Arguments { ending } = Arguments::parse();
    let mut runtime = match ending {
        Ending::Spinning | Ending::SpinningAtTheEnd | Ending::Blocked => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(run(ending))
}

async fn run(ending: Ending) -> Result<ExitCode> {
    let telemetry = Telemetry::from_env()?;
    let dag = Dag::builder("ending::orders_v1")?.loader("orders").transform("risk", ["orders"]).build()?;
    let run = telemetry.start_run(&dag, RunOptions::default());
    run.node("orders", async |_| Ok::<_, Infallible>(())).await?;
    match ending {
        Ending::Finish => run.node("risk", async |_| Ok::<_, Infallible>(())).await?,
        Ending::FullDisk | Ending::FullForAWhile => {
            let filler = fill_disk(telemetry.settings().bundle.output_dir.as_ref())?;
            let is_over = matches!(ending, Ending::FullForAWhile);
            run.node("risk", async |_| if is_over { fs::remove_file(&filler) } else { Ok(()) }).await?;
        }
        Ending::Panic => run.node("risk", async |_| -> Result<()> { panic!("out of luck") }).await?,
        Ending::Error => run.node("risk", async |_| bail!("out of luck")).await?,
        Ending::Drop => return Ok(ExitCode::SUCCESS),
        Ending::Unprepared => endless(&run).await,
        Ending::Blocked => {
            let (_sender, nothing) = mpsc::channel::<()>();
            let wait = async |_| Ok::<_, Infallible>(nothing.recv());
            run.node("risk", wait).await.map(drop)?;
        }
        Ending::Spinning => {
            let spin = run.node("risk", async |_| -> Result<()> {
                loop {
                    spin_loop();
                }
            });
            // It does not come to see the signal.
            run.until_interrupted(spin).await??;
        }
        Ending::Computing => {
            let has_come = Arc::new(AtomicBool::new(false));
            let announced = Arc::clone(&has_come);
            let answer = OnInterrupt::new().announce(move |_| announced.store(true, Ordering::Release));
            let work = async {
                let Ok(()) = run
                    .node("risk", async |_| {
                        while !has_come.load(Ordering::Acquire) {
                            spin_loop();
                        }
                        Ok::<_, Infallible>(())
                    })
                    .await;
                let began = async |what: &str| {
                    println!("{what} began");
                    Ok::<_, Infallible>(())
                };
                let Ok(()) = run.stage("setup", began("a stage")).await;
                let Ok(()) = run.node("orders", async |_| began("a node").await).await;
            };
            if let Err(interrupted) = run.until_interrupted_with(answer, work).await {
                run.finish().await;
                return Ok(ExitCode::from(interrupted.exit_code()));
            }
        }
        Ending::SpinningAtTheEnd => {
            let interrupted = run.until_interrupted(endless(&run)).await;
            tokio::spawn(async {
                loop {
                    spin_loop();
                }
            });
            run.finish().await;
            interrupted?;
            return Ok(ExitCode::SUCCESS);
        }
        Ending::Interrupted => {
            if let Err(interrupted) = run.until_interrupted(endless(&run)).await {
                run.finish().await;
                return Ok(ExitCode::from(interrupted.exit_code()));
            }
        }
    }
    run.finish().await;
    Ok(ExitCode::SUCCESS)
}

/// Writes a file until there is no space for another byte.
fn fill_disk(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("filler");
    let mut file = File::create(&path)?;
    for size in [4_096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    Ok(path)
}

async fn endless(run: &Run) {
    let Ok(()) = run.node("risk", async |_| pending::<Result<(), Infallible>>().await).await;
}

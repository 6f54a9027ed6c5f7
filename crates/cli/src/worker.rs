//! `daglight worker`: executes parts of the queries of other processes.

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc};

use daglight::{Telemetry, WorkerTelemetry, cluster::distributed::Worker, settings::SettingsLoader};
use datafusion::error::DataFusionError;
use indicatif::MultiProgress;
use tokio::net::TcpListener;

use crate::{
    console,
    failure::Failure,
    run::runtime_env,
    say::{self, note, say},
    serve::told_to_end,
    spill,
    stores::hide_credentials,
    threads,
    worker_args::WorkerArgs,
};

pub(crate) fn worker(args: &WorkerArgs) -> Result<ExitCode, Failure> {
    let resolved = SettingsLoader::from_process().resolve()?;
    let policy = resolved.settings.policy();
    say::hide_with(policy.redactor());
    hide_credentials(policy.redactor());
    let runtime = threads::runtime(threads::look_for_room(args.threads, || ()))?;
    let env = runtime_env(args.memory_limit, args.spill_dir.as_deref())?;
    let telemetry = Telemetry::of_resolved_with(resolved, policy);
    console::install(&telemetry, &MultiProgress::new());
    let listener = Arc::new(WorkerTelemetry::new(&telemetry));
    let worker = Worker::new(|context| Ok::<_, DataFusionError>(context.builder.build()), Some(listener));
    let served = runtime.block_on(async {
        let listener =
            TcpListener::bind(&args.listen).await.map_err(|error| cannot_listen(&args.listen, &error))?;
        let address = listener.local_addr().map_err(Failure::work)?;
        note!("worker of a cluster; ctrl-c ends it");
        if !address.ip().is_loopback() {
            note!("warning: {}", open_to_others(address));
        }
        // Only the address goes to standard output, for programs that read it.
        say!("{address}");
        worker.with_runtime_env(env).serve(listener, told_to_end()).await.map_err(Failure::work)
    });
    // Remaining work of queries on the runtime's threads is not waited for.
    runtime.shutdown_background();
    spill::remove();
    telemetry.shutdown();
    served.map(|_| ExitCode::SUCCESS)
}

/// The error for an address at which a worker cannot be reached.
fn cannot_listen(listen: &str, error: &io::Error) -> Failure {
    let has_port = listen.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Failure::input(match has_port {
        true => format!("cannot listen at {listen}: {error}; another address is given by --listen"),
        false => format!(
            "cannot listen at {listen}: expected a host and a port, such as 127.0.0.1:9400 or 127.0.0.1:0"
        ),
    })
}

/// A warning about what it means that other machines can reach a worker.
fn open_to_others(address: SocketAddr) -> String {
    let at = match address.ip().is_unspecified() {
        true => format!("port {} of any address of this machine", address.port()),
        false => address.to_string(),
    };
    format!(
        "there is no login and no TLS: whoever reaches {at} can have queries executed, and files read and written with the rights of this \
         process"
    )
}

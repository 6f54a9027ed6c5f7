//! `daglight serve`: the runs of a folder in a browser.

use std::{net::Ipv4Addr, process::ExitCode};

use daglight::bundle::{Bundle, display::exact_plural};
use daglight_bundle_server::Server;
use tokio::{net::TcpListener, signal};

use crate::{
    args::ServeArgs,
    bundles::{bundles_at, runs_folder},
    config::report_options,
    failure::Failure,
    given_token::GivenToken,
    say::{note, say},
};

pub(crate) fn serve(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let token = args.token.as_ref().map(GivenToken::token).transpose()?;
    let folder = runs_folder(args.runs.dir.as_deref())?;
    // Packed bundles are unpacked while they are served.
    let bundles = bundles_at(&folder)?;
    let packed = bundles.iter().filter(|bundle| bundle.archive().is_some());
    let packed: Vec<Bundle> = packed.map(|bundle| Bundle::clone(bundle)).collect();
    let mut server = Server::new(&folder).options(report_options()).with_unpacked(packed);
    if let Some(token) = token {
        server = server.token(token);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::work)?;
    runtime.block_on(async {
        // No other machine has access, whatever its credentials: runs contain data.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await.map_err(|error| {
            Failure::input(format!(
                "cannot listen at 127.0.0.1:{}: {error}; another port is given by --port",
                args.port
            ))
        })?;
        let port = listener.local_addr().map_err(Failure::work)?.port();
        let runs = exact_plural(bundles.len() as u64, "run");
        note!("{}: {runs}; ctrl-c ends it", folder.display());
        // Not the token itself, which would end up in the log of the parent process.
        let key = if args.token.is_some() { "?token=TOKEN" } else { "" };
        // Only the address goes to standard output, for programs that read it.
        say!("http://127.0.0.1:{port}/{key}");
        server.serve(listener, told_to_end()).await.map_err(Failure::work)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for ctrl-c, or SIGTERM if it exists.
pub(crate) async fn told_to_end() {
    #[cfg(unix)]
    {
        let terminate = signal::unix::signal(signal::unix::SignalKind::terminate());
        if let Ok(mut terminate) = terminate {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = signal::ctrl_c() => {}
            }
            return;
        }
    }
    // If signals cannot be awaited, they end the process.
    if signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

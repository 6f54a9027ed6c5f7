//! A worker of `datafusion-distributed` that says that it is of the version that the first argument is. Prints its address.

use std::env;

use anyhow::Context as _;
use datafusion_distributed::Worker;
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let version = env::args().nth(1).context("which version?")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let worker = Worker::default().with_version(version).into_worker_server();
    Ok(Server::builder().add_service(worker).serve_with_incoming(TcpIncoming::from(listener)).await?)
}

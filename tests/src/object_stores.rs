//! An S3 server on loopback: `s3s-fs`, which checks the signature of every request and keeps objects as files.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Serves one bucket until it is dropped.
pub struct S3Server {
    address: SocketAddr,
    root: TempDir,
    _runtime: Runtime,
}

impl S3Server {
    /// The key that it takes.
    pub const ACCESS_KEY: &str = "daglight-access";
    /// Its secret.
    pub const SECRET_KEY: &str = "zqmkS3cretKeyOfTheLake";
    /// The bucket.
    pub const BUCKET: &str = "lake";

    /// Starts it. With `is_public`, it takes requests without a signature alone, as the server of files it then is.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(is_public: bool) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(root.path().join(Self::BUCKET)).expect("a folder for the bucket");
        let mut service =
            S3ServiceBuilder::new(FileSystem::new(root.path()).expect("the folder can be served"));
        if !is_public {
            service.set_auth(SimpleAuth::from_single(Self::ACCESS_KEY, Self::SECRET_KEY));
        }
        let service = service.build();
        let runtime = Runtime::new().expect("a runtime");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        listener.set_nonblocking(true).expect("a socket for the runtime");
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket for the runtime");
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = Builder::new(TokioExecutor::new());
                    // A client that disconnects in the middle does not concern the test.
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, root, _runtime: runtime }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where an object is as a file.
    pub fn file(&self, key: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(Self::BUCKET).join(key)
    }
}

impl std::fmt::Debug for S3Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Server").field("address", &self.address).finish_non_exhaustive()
    }
}

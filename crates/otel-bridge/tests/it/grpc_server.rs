//! An OTLP endpoint over gRPC that answers as a script says.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use h2::{RecvStream, server::SendResponse};
use opentelemetry_http::{Bytes, Request, Response};
use reqwest::header::HeaderMap;
use tokio::net::TcpStream;

/// What is answered to a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// This message, with the status OK.
    Message(Vec<u8>),
    /// A code of gRPC that is a failure, and a message.
    Status(u8, &'static str),
}

/// A request as it came in.
pub(crate) struct GrpcRequest {
    pub(crate) headers: HeaderMap,
    pub(crate) message: Vec<u8>,
}

type Script = Arc<(Vec<Answer>, AtomicUsize)>;

/// A server that gives each request the next answer, and all later ones the last.
pub(crate) fn grpc_server(answers: Vec<Answer>) -> (String, Receiver<GrpcRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    let script = Arc::new((answers, AtomicUsize::new(0)));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&script), sender.clone()));
            }
        });
    });
    (address, requests)
}

async fn serve(stream: TcpStream, script: Script, requests: Sender<GrpcRequest>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        // The connection must be polled while the body arrives.
        tokio::spawn(take(request, respond, Arc::clone(&script), requests.clone()));
    }
}

async fn take(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    script: Script,
    requests: Sender<GrpcRequest>,
) {
    let (head, mut body) = request.into_parts();
    let mut framed = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        framed.extend_from_slice(&chunk);
    }
    // Nobody may be there any more to look at it.
    let _ = requests.send(GrpcRequest { headers: head.headers, message: framed.split_off(5) });
    let turn = script.1.fetch_add(1, Ordering::Relaxed);
    let answer = script.0.get(turn).or(script.0.last()).unwrap();
    let head = Response::builder().header("content-type", "application/grpc");
    match answer {
        Answer::Message(message) => {
            let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
            let size = u32::try_from(message.len()).unwrap().to_be_bytes();
            let frame: Vec<u8> = [&[0], &size[..], message].concat();
            stream.send_data(frame.into(), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", 0.into());
            stream.send_trailers(trailers).unwrap();
        }
        Answer::Status(code, message) => {
            let head = head.header("grpc-status", u16::from(*code)).header("grpc-message", *message);
            respond.send_response(head.body(()).unwrap(), true).unwrap();
        }
    }
}

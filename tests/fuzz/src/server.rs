//! A loopback server that says what it is told to.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

type Answer = Box<dyn FnMut(&str) -> Option<Vec<u8>> + Send>;

/// A server for all inputs of a process, whose answers each input decides.
pub struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
}

// By hand, because an answer is a closure, which has nothing to show.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts a server. It ends with the process.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the address of a listener");
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Box::new(|_| None)));
        let of_thread = Arc::clone(&answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that has gone is not its problem.
                let _ = serve(stream, &of_thread);
            }
        });
        Self { address, answer }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it says from now on to a request with this line (method, path and query): the bytes of an answer, after which the
    /// connection is closed, or nothing.
    pub fn says(&self, answer: impl FnMut(&str) -> Option<Vec<u8>> + Send + 'static) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(answer);
    }
}

/// An answer with a body of JSON.
pub fn json_answer(body: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    [head, body].concat().into_bytes()
}

fn serve(mut stream: TcpStream, answer: &Mutex<Answer>) -> io::Result<()> {
    let line = read(&stream)?;
    let answer = answer.lock().unwrap_or_else(PoisonError::into_inner)(&line);
    stream.write_all(&answer.unwrap_or_default())
}

/// Reads a request to its end: the client would see a reset in place of an answer that comes earlier.
fn read(stream: &TcpStream) -> io::Result<String> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(text) = header.strip_prefix("content-length:") {
            length = text.trim().parse().unwrap_or_default();
        }
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    Ok(line.trim_end().trim_end_matches(" HTTP/1.1").to_owned())
}

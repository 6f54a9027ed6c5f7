//! What answers at an address that belongs to another kind of cluster, or to none.

use std::{io, str, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::address::WorkerAddress;

/// How long each question may take.
const WITHIN: Duration = Duration::from_secs(2);
/// Bytes of the answer of a web server that are looked at.
const LONGEST: usize = 4096;

/// What answers there, in words, with the address that it has as a cluster; `None` where nobody can tell.
pub(crate) async fn what_answers(address: &WorkerAddress) -> Option<String> {
    #[cfg(feature = "ballista")]
    if let Ok(true) = timeout(WITHIN, crate::ballista::is_scheduler(address)).await {
        return Some(format!("a scheduler of Ballista answers there, whose address is ballista://{address}"));
    }
    #[cfg(feature = "distributed")]
    if let Ok(true) = timeout(WITHIN, crate::distributed::is_worker(address)).await {
        return Some(format!("a worker of daglight answers there, whose address is df://{address}"));
    }
    let head = timeout(WITHIN, head(address)).await.ok()?.ok()?;
    in_words(&head)
}

/// The beginning of what a web server says.
async fn head(address: &WorkerAddress) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address.to_string()).await?;
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: cluster\r\nConnection: close\r\n\r\n").await?;
    let mut said = Vec::new();
    stream.take(LONGEST as u64).read_to_end(&mut said).await?;
    Ok(said)
}

fn in_words(head: &[u8]) -> Option<String> {
    // One of HTTP/2 says in its own way that it does not understand.
    let head = str::from_utf8(head).ok().filter(|head| head.starts_with("HTTP/1."))?;
    let server = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        let is_plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        (name.eq_ignore_ascii_case("server") && is_plain).then_some(value)
    });
    Some(match server {
        Some(server) => format!("a web server answers there ({server})"),
        None => "a web server answers there".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_server_is_told_by_its_answer() {
        let said = |head: &str| in_words(head.as_bytes());
        assert_eq!(
            said("HTTP/1.1 404 Not Found\r\nServer: nginx/1.2\r\n\r\n").as_deref(),
            Some("a web server answers there (nginx/1.2)")
        );
        assert_eq!(
            said("HTTP/1.0 200 OK\r\nserver: \u{1b}[2J\r\n\r\n").as_deref(),
            Some("a web server answers there")
        );
        for other in ["", "SSH-2.0-OpenSSH_9", "\0\0\u{6}\u{4}"] {
            assert_eq!(said(other), None);
        }
        assert_eq!(in_words(b"HTTP/1.1 \xff"), None);
    }
}

//! An archive on the loopback that misbehaves: the folders `/sas/dr17` and later of a survey, and SkyServer beside them.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What is done with one request in place of answering it well.
#[derive(Debug, Clone)]
pub enum Mischief {
    /// A status, with a web page for a body.
    Status(u16),
    /// A status with Retry-After.
    Busy(u16, String),
    /// The connection is reset before any answer.
    Reset,
    /// It is reset after so many bytes of the body.
    ResetAfter(usize),
    /// The body ends after so many bytes of more announced.
    Truncated(usize),
    /// The body stands still after so many bytes, until the client has gone.
    Stall(usize),
    /// The body comes a few bytes at a time, which would take minutes.
    Trickle,
    /// A web page with status 200.
    WebPage,
    /// Another file with status 200.
    OtherFile(PathBuf),
    /// Range is passed over.
    NoRange,
    /// The rest is sent whatever If-Range says.
    BlindRange,
    /// So many bytes are sent as the rest, truthfully said to be not all of it.
    ShortRange(usize),
    /// So many bytes and no word of their number: the closed connection is the end.
    WithoutLength(usize),
    /// The whole file in chunks, without its length.
    Chunked,
    /// Chunks that break off after so many bytes.
    ChunkedUntil(usize),
    /// No answer at all, until the client has gone.
    Silence,
    /// A body that does not end, as fast as it is taken.
    Endless,
    /// The client is sent elsewhere.
    Redirect(String),
    /// The file is of another version than before.
    NewVersion,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Decoded path and query.
    pub target: String,
    /// First byte asked for.
    pub range: Option<usize>,
    pub user_agent: String,
    pub at: Instant,
    /// Bytes of the body sent.
    pub sent: usize,
    /// Whether it came as to a proxy.
    pub through_proxy: bool,
}

#[derive(Default)]
struct State {
    /// Folders by what their targets begin with.
    folders: Vec<(String, PathBuf)>,
    sql_answer: Mutex<String>,
    mischief: Mutex<Vec<(String, VecDeque<Mischief>)>>,
    always: Mutex<Vec<(String, Mischief)>>,
    /// Files of another version, by what their targets contain.
    changed: Mutex<Vec<String>>,
    log: Mutex<Vec<Request>>,
    open: AtomicUsize,
    most_open: AtomicUsize,
    n_opened: AtomicUsize,
    stopped: AtomicBool,
}

/// A server that ends with the test.
pub struct Archive {
    address: SocketAddr,
    state: Arc<State>,
}

impl Archive {
    /// Serves a folder's content below `/sas/dr17/`.
    pub fn serve(folder: &Path) -> Self {
        Self::serve_releases(&[("dr17", folder)])
    }

    /// Serves each folder's content below `/sas/` and its release.
    pub fn serve_releases(releases: &[(&str, &Path)]) -> Self {
        let folders =
            releases.iter().map(|(release, folder)| (format!("/sas/{release}/"), folder.to_path_buf())).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { folders, ..State::default() });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.attend(stream));
            }
        });
        Self { address, state }
    }

    /// `data.archive.root`.
    pub fn root(&self) -> String {
        self.root_of("dr17")
    }

    /// `data.archive.root` of a release.
    pub fn root_of(&self, release: &str) -> String {
        format!("http://{}/sas/{release}", self.address)
    }

    /// `data.archive.skyserver`.
    pub fn skyserver(&self) -> String {
        format!("http://{}/SqlSearch", self.address)
    }

    /// `HTTP_PROXY` that makes this server the way to every other.
    pub fn proxy(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What SkyServer answers from now on.
    pub fn answers_sql(&self, text: &str) {
        *self.state.sql_answer.lock().unwrap() = text.into();
    }

    /// What happens to the next requests whose target contains `part`, one after the other.
    pub fn plans(&self, part: &str, mischief: impl IntoIterator<Item = Mischief>) {
        self.state.mischief.lock().unwrap().push((part.into(), mischief.into_iter().collect()));
    }

    /// What happens to every request whose target contains `part`.
    pub fn always(&self, part: &str, mischief: Mischief) {
        self.state.always.lock().unwrap().push((part.into(), mischief));
    }

    /// From now on all goes well.
    pub fn behaves(&self) {
        self.state.mischief.lock().unwrap().clear();
        self.state.always.lock().unwrap().clear();
    }

    /// Requests so far, in the order they came.
    pub fn requests(&self) -> Vec<Request> {
        self.state.log.lock().unwrap().clone()
    }

    /// Requests whose target contains `part`.
    pub fn requests_for(&self, part: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.target.contains(part)).collect()
    }

    /// Connections that were opened.
    pub fn n_connections(&self) -> usize {
        self.state.n_opened.load(Ordering::SeqCst)
    }

    /// Most connections that were open at a time.
    pub fn most_connections(&self) -> usize {
        self.state.most_open.load(Ordering::SeqCst)
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn attend(&self, mut stream: TcpStream) {
        let n_open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.n_opened.fetch_add(1, Ordering::SeqCst);
        self.most_open.fetch_max(n_open, Ordering::SeqCst);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        let mut through_proxy = false;
        while let Some(head) = peek_head(&stream) {
            if head.starts_with("CONNECT") {
                through_proxy = true;
                consume(&mut stream, head.len());
                let _ = stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n");
            } else if !self.answer(&mut stream, &head, through_proxy) {
                break;
            }
        }
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether the connection may be used again.
    fn answer(&self, stream: &mut TcpStream, head: &str, through_proxy: bool) -> bool {
        let mut words = head.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), decode(words.next().unwrap_or_default()));
        let range =
            header(head, "range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let index = {
            let mut log = self.log.lock().unwrap();
            log.push(Request {
                method: method.into(),
                target: target.clone(),
                range,
                user_agent: header(head, "user-agent").unwrap_or_default().into(),
                at: Instant::now(),
                sent: 0,
                through_proxy,
            });
            log.len() - 1
        };
        let mischief = self.next_mischief(&target);
        // A connection closed with bytes unread is reset, so what is to be reset is not read.
        if !matches!(mischief, Some(Mischief::Reset | Mischief::ResetAfter(_))) {
            consume(stream, head.len());
        }
        let (mut sent, is_good) = (0, mischief.is_none());
        let replied = self.reply(stream, method, &target, range, head, mischief, &mut sent);
        self.log.lock().unwrap()[index].sent = sent;
        is_good && replied.is_ok()
    }

    fn next_mischief(&self, target: &str) -> Option<Mischief> {
        let mut planned = self.mischief.lock().unwrap();
        let next = planned.iter_mut().find(|(part, queue)| target.contains(part.as_str()) && !queue.is_empty());
        if let Some((_, queue)) = next {
            return queue.pop_front();
        }
        let always = self.always.lock().unwrap();
        always.iter().find(|(part, _)| target.contains(part.as_str())).map(|(_, mischief)| mischief.clone())
    }

    #[expect(clippy::too_many_arguments, reason = "one call of one server")]
    fn reply(
        &self,
        stream: &mut TcpStream,
        method: &str,
        target: &str,
        range: Option<usize>,
        head: &str,
        mischief: Option<Mischief>,
        sent: &mut usize,
    ) -> std::io::Result<()> {
        let page = |status: u16| format!("HTTP/1.1 {status} X\r\nContent-Length: 28\r\nConnection: close\r\n");
        let html = b"<html><p>Not now</p></html>\n";
        match &mischief {
            Some(Mischief::Reset) => return Ok(()),
            Some(Mischief::Silence) => {
                let _ = stream.read(&mut [0]);
                return Ok(());
            }
            Some(Mischief::Endless) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                stream.write_all(b"SIMPLE  =                    T")?;
                loop {
                    stream.write_all(&[b' '; 65_536])?;
                }
            }
            Some(Mischief::Redirect(to)) => {
                let answer =
                    format!("HTTP/1.1 302 X\r\nLocation: {to}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                return stream.write_all(answer.as_bytes());
            }
            Some(Mischief::Status(status)) => {
                stream.write_all(format!("{}\r\n", page(*status)).as_bytes())?;
                return stream.write_all(html);
            }
            Some(Mischief::Busy(status, pause)) => {
                stream.write_all(format!("{}Retry-After: {pause}\r\n\r\n", page(*status)).as_bytes())?;
                return stream.write_all(html);
            }
            _ => {}
        }
        let (content, version) = match mischief {
            Some(Mischief::WebPage) => (html.to_vec(), "\"page\"".to_string()),
            _ if target.starts_with("/SqlSearch") => {
                (self.sql_answer.lock().unwrap().clone().into_bytes(), "\"sql\"".to_string())
            }
            _ => {
                if matches!(mischief, Some(Mischief::NewVersion)) {
                    self.changed.lock().unwrap().push(target.to_string());
                }
                let served =
                    self.folders.iter().find_map(|(below, folder)| Some(folder.join(target.strip_prefix(below)?)));
                let path = match (&mischief, served) {
                    (Some(Mischief::OtherFile(path)), _) => path.clone(),
                    (_, Some(path)) => path,
                    _ => return stream.write_all(format!("{}\r\n", page(404)).as_bytes()),
                };
                let Ok(content) = std::fs::read(path) else {
                    stream.write_all(format!("{}\r\n", page(404)).as_bytes())?;
                    return stream.write_all(html);
                };
                let n_changes = self.changed.lock().unwrap().iter().filter(|changed| *changed == target).count();
                (content.clone(), format!("\"{:x}-{n_changes}\"", content.len()))
            }
        };
        let named = header(head, "if-range").is_none_or(|named| named == version);
        let heeds = !matches!(mischief, Some(Mischief::NoRange | Mischief::Chunked | Mischief::WebPage));
        let start = range.filter(|_| heeds && (named || matches!(mischief, Some(Mischief::BlindRange)))).unwrap_or(0);
        if start >= content.len() && start > 0 {
            let answer =
                format!("HTTP/1.1 416 X\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n\r\n", content.len());
            return stream.write_all(answer.as_bytes());
        }
        let end = match mischief {
            Some(Mischief::ShortRange(n_bytes) | Mischief::WithoutLength(n_bytes)) => start + n_bytes,
            _ => content.len(),
        };
        let body = &content[start..end];
        let mut answer = String::from(if start > 0 { "HTTP/1.1 206 X\r\n" } else { "HTTP/1.1 200 OK\r\n" });
        answer += &format!("ETag: {version}\r\n");
        if mischief.is_some() {
            answer += "Connection: close\r\n";
        }
        if start > 0 {
            answer += &format!("Content-Range: bytes {start}-{}/{}\r\n", end - 1, content.len());
        }
        let chunks = match mischief {
            Some(Mischief::Chunked) => Some(body.len()),
            Some(Mischief::ChunkedUntil(n_bytes)) => Some(n_bytes),
            _ => None,
        };
        answer += &match (chunks, &mischief) {
            (Some(_), _) => "Transfer-Encoding: chunked\r\n\r\n".into(),
            (_, Some(Mischief::WithoutLength(_))) => "\r\n".into(),
            _ => format!("Content-Length: {}\r\n\r\n", body.len()),
        };
        stream.write_all(answer.as_bytes())?;
        if method == "HEAD" {
            return Ok(());
        }
        let mut send = |bytes: &[u8], stream: &mut TcpStream| {
            stream.write_all(bytes)?;
            *sent += bytes.len();
            Ok(())
        };
        match (mischief, chunks) {
            (_, Some(n_bytes)) => {
                for chunk in body[..n_bytes].chunks(50_000) {
                    stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                    send(chunk, stream)?;
                    stream.write_all(b"\r\n")?;
                }
                if n_bytes == body.len() { stream.write_all(b"0\r\n\r\n") } else { Ok(()) }
            }
            (Some(Mischief::Truncated(n_bytes)), _) => send(&body[..n_bytes.min(body.len())], stream),
            (Some(Mischief::ResetAfter(n_bytes)), _) => {
                send(&body[..n_bytes.min(body.len())], stream)?;
                // What was sent is lost with the connection unless it has been read before.
                std::thread::sleep(Duration::from_millis(100));
                Ok(())
            }
            (Some(Mischief::Stall(n_bytes)), _) => {
                send(&body[..n_bytes.min(body.len())], stream)?;
                let _ = stream.read(&mut [0]);
                Ok(())
            }
            (Some(Mischief::Trickle), _) => {
                for bytes in body.chunks(5) {
                    send(bytes, stream)?;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(())
            }
            _ => send(body, stream),
        }
    }
}

/// The head of a request, left unread.
fn peek_head(stream: &TcpStream) -> Option<String> {
    let mut buffer = [0; 16_384];
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        let n_bytes = stream.peek(&mut buffer).ok().filter(|n_bytes| *n_bytes > 0)?;
        let text = String::from_utf8_lossy(&buffer[..n_bytes]);
        if let Some(end) = text.find("\r\n\r\n") {
            return Some(text[..end + 4].to_string());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

fn consume(stream: &mut TcpStream, n_bytes: usize) {
    let mut head = vec![0; n_bytes];
    let _ = stream.read_exact(&mut head);
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// `%XX` codes only: a `+` in a path is a plus.
fn decode(encoded: &str) -> String {
    let mut pieces = encoded.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

//! One question to the archive, one answer: over HTTP, or from a copy of the archive on disk.

use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::response::Parts;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body, RequestBuilder, typestate::WithoutBody};

use super::archive::{Shelf, Source, decode, encode_path};
use super::pace::Pace;
use super::redirect;
use super::refusal::Refusal;
use super::settings::ArchiveSettings;
use super::stream::{Flow, Stream, apart};

/// How maury names itself to servers.
const USER_AGENT: &str = concat!("maury/", env!("CARGO_PKG_VERSION"), " (+", env!("CARGO_PKG_REPOSITORY"), ")");
/// A query may be silent for so many times `timeout_s`: SkyServer answers when it has all rows.
const QUERY_PATIENCE: u32 = 10;
/// Bytes read of what a server says in place of an answer.
const LONGEST_EXCUSE: usize = 64 << 10;
/// Times one request is sent on.
const MOST_REDIRECTS: usize = 5;

/// The way to the archive and to SkyServer.
pub(super) struct Transport {
    agent: Agent,
    root: Root,
    dr17: Root,
    timeout: Duration,
}

enum Root {
    Http(String),
    Folder(PathBuf),
}

impl Root {
    fn new(root: &str) -> Self {
        match root.strip_prefix("file://") {
            Some(path) => Self::Folder(PathBuf::from(decode(path))),
            None => Self::Http(root.to_string()),
        }
    }
}

/// A file, or the rest of one, about to come.
pub(super) struct Answer {
    /// Position of the first byte in the file.
    pub start: u64,
    /// Bytes of the whole file, where told.
    pub length: Option<u64>,
    /// What tells this version of the file from others.
    pub version: Option<String>,
    /// The bytes from `start` on.
    pub body: Stream,
}

impl Transport {
    /// Opens nothing yet; heeds the proxies of the environment (`ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
    pub fn new(settings: &ArchiveSettings) -> Self {
        let timeout = Duration::from_secs_f64(settings.timeout_s);
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(USER_AGENT)
            .max_idle_connections_per_host(settings.connections)
            .max_idle_connections(settings.connections + 1)
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .timeout_per_read(Some(timeout))
            .timeout_per_write(Some(timeout))
            .build()
            .new_agent();
        let (root, dr17) = (Root::new(&settings.folder()), Root::new(&settings.folder_of_dr17()));
        Self { agent, root, dr17, timeout }
    }

    fn root(&self, source: &Source) -> &Root {
        match source.shelf {
            Shelf::Own => &self.root,
            Shelf::Dr17 => &self.dr17,
        }
    }

    /// Whether the archive is a copy on disk.
    pub fn is_local(&self) -> bool {
        matches!(self.root, Root::Folder(_))
    }

    /// Where a file lies, for messages and the manifest.
    pub fn url(&self, source: &Source) -> String {
        match self.root(source) {
            Root::Http(root) => format!("{root}/{}", encode_path(&source.path)),
            Root::Folder(folder) => format!("file://{}", folder.join(&source.path).display()),
        }
    }

    /// A file from its beginning, or from a position on if it is still the version named.
    ///
    /// # Errors
    /// Why it does not come.
    pub fn ask(&self, source: &Source, from: Option<(u64, &str)>, pace: &Pace) -> Result<Answer, Refusal> {
        match self.root(source) {
            Root::Folder(folder) => open(&folder.join(&source.path), from),
            Root::Http(_) => self.ask_server(&self.url(source), from, pace),
        }
    }

    /// What a server answers; it may send the request on, but to no other server.
    fn call(
        &self,
        url: &str,
        request: impl Fn(&Agent, &str) -> RequestBuilder<WithoutBody>,
        pace: &Pace,
    ) -> Result<Response<Body>, Refusal> {
        let mut here = url.to_string();
        for _ in 0..=MOST_REDIRECTS {
            let request = direct(request(&self.agent, &here), &here);
            let response = apart(pace, move || request.call())?.map_err(unanswered)?;
            match (response.status().as_u16(), header(response.headers(), "location")) {
                (301 | 302 | 303 | 307 | 308, Some(location)) => {
                    here = redirect::follow(&here, location).map_err(Refusal::Final)?;
                }
                _ => return Ok(response),
            }
        }
        Err(Refusal::Final(format!("the server sent the request on {MOST_REDIRECTS} times and more")))
    }

    fn ask_server(&self, url: &str, from: Option<(u64, &str)>, pace: &Pace) -> Result<Answer, Refusal> {
        let request = |agent: &Agent, url: &str| match from {
            Some((start, version)) => {
                agent.get(url).header("Range", format!("bytes={start}-")).header("If-Range", version)
            }
            None => agent.get(url),
        };
        let response = self.call(url, request, pace)?;
        let headers = response.headers();
        let (version, range) = (version(headers), header(headers, "content-range").map(str::to_string));
        let n_bytes = header(headers, "content-length").and_then(|length| length.parse().ok());
        let (start, length) = match response.status().as_u16() {
            200 => (0, n_bytes),
            206 => {
                let (start, length) = range
                    .as_deref()
                    .and_then(content_range)
                    .ok_or_else(|| Refusal::Final("the server sent a part of the file without saying which".into()))?;
                (start, length.or_else(|| n_bytes.map(|n_bytes: u64| start.saturating_add(n_bytes))))
            }
            416 => {
                let total = range.as_deref().and_then(|range| range.strip_prefix("bytes */")?.parse().ok());
                return Err(Refusal::Beyond(total));
            }
            _ => return Err(refused(&response.into_parts().0, "")),
        };
        Ok(Answer { start, length, version, body: Stream::of_server(response.into_body().into_reader()) })
    }

    /// Bytes of a file without fetching it, where the server tells.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn size(&self, source: &Source, pace: &Pace) -> Result<Option<u64>, Refusal> {
        if let Root::Folder(folder) = self.root(source) {
            return open(&folder.join(&source.path), None).map(|answer| answer.length);
        }
        let url = self.url(source);
        let response = self.call(&url, |agent, url| agent.head(url), pace)?;
        match response.status().as_u16() {
            200 => Ok(header(response.headers(), "content-length").and_then(|length| length.parse().ok())),
            _ => Err(refused(&response.into_parts().0, "")),
        }
    }

    /// The whole answer to a query as text, whatever it says; at most so many bytes.
    ///
    /// # Errors
    /// Why there is none, with what the server said.
    pub fn query(&self, url: &str, longest: usize, pace: &Pace) -> Result<String, Refusal> {
        let patience = Some(self.timeout * QUERY_PATIENCE);
        let request = |agent: &Agent, url: &str| agent.get(url).config().timeout_per_read(patience).build();
        let (head, body) = self.call(url, request, pace)?.into_parts();
        let is_answer = head.status.as_u16() == 200;
        let limit = if is_answer { longest } else { LONGEST_EXCUSE };
        let mut stream = Stream::of_server(body.into_reader());
        let (mut bytes, mut flow) = (Vec::new(), Flow::over(self.timeout));
        let end = loop {
            match stream.next(pace) {
                Ok(piece) if piece.is_empty() => break Ok(()),
                // The answer begins when all rows are there: from then on they come.
                Ok(piece) => {
                    bytes.extend_from_slice(&piece);
                    if let Err(slow) = flow.count(piece.len()) {
                        break Err(slow);
                    }
                }
                Err(stop @ Refusal::Stop(_)) => return Err(stop),
                Err(refusal) => break Err(refusal),
            }
            if bytes.len() > limit {
                let what = format!("the answer has more than {} MB, which no catalogue of it has", limit / 1_000_000);
                break Err(Refusal::Final(what));
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        match end {
            _ if !is_answer => Err(refused(&head, &text)),
            Ok(()) => Ok(text.into_owned()),
            Err(Refusal::Passing(reason)) => Err(Refusal::Passing(format!("the answer broke off: {reason}"))),
            Err(refusal) => Err(refusal),
        }
    }
}

/// No proxy leads back to this machine itself.
fn direct(request: RequestBuilder<WithoutBody>, url: &str) -> RequestBuilder<WithoutBody> {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let is_own = ["localhost", "127.", "[::1]"].iter().any(|own| host.starts_with(own));
    if is_own { request.config().proxy(None).build() } else { request }
}

fn unanswered(err: ureq::Error) -> Refusal {
    match err {
        ureq::Error::BadUri(_)
        | ureq::Error::Http(_)
        | ureq::Error::InvalidProxyUrl
        | ureq::Error::RedirectFailed
        | ureq::Error::TooManyRedirects => Refusal::Final(err.to_string()),
        err if is_passing(&err) => Refusal::Passing(err.to_string()),
        err => Refusal::Passing(format!("{err}; is there a network, and does HTTPS_PROXY name the proxy it needs?")),
    }
}

/// Whether a connection that was made broke.
fn is_passing(err: &ureq::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
    match err {
        ureq::Error::Io(err) => {
            [BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock].contains(&err.kind())
        }
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::ConnectProxyFailed(_) => false,
        _ => true,
    }
}

fn refused(head: &Parts, said: &str) -> Refusal {
    let status = head.status;
    let mut described = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default());
    if !said.trim().is_empty() {
        described += &format!(", {}", super::sky_server::in_short(said));
    }
    Refusal::of_status(status.as_u16(), described, header(&head.headers, "retry-after"))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What If-Range may name: a strong ETag, or the time of the last change.
fn version(headers: &HeaderMap) -> Option<String> {
    let strong = header(headers, "etag").filter(|tag| !tag.starts_with("W/"));
    strong.or_else(|| header(headers, "last-modified")).map(str::to_string)
}

/// First byte and whole length of `bytes 100-199/1000`.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

/// A file of a copy on disk.
fn open(path: &Path, from: Option<(u64, &str)>) -> Result<Answer, Refusal> {
    let failed = |err: std::io::Error| match err.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory => {
            Refusal::Absent(err.to_string())
        }
        _ => Refusal::Final(err.to_string()),
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Refusal::Absent("not a file".into()));
    }
    let mut file = File::open(path).map_err(failed)?;
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let version = format!("{} bytes of {:?}", metadata.len(), changed.unwrap_or_default());
    let start =
        from.filter(|(start, named)| *named == version && *start <= metadata.len()).map_or(0, |(start, _)| start);
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    Ok(Answer { start, length: Some(metadata.len()), version: Some(version), body: Stream::File(file) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn a_content_range_gives_start_and_length() {
        assert_eq!(content_range("bytes 100-199/1000"), Some((100, Some(1000))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, None)));
        assert_eq!(content_range("items 1-2/3"), None);
        assert_eq!(content_range("bytes x-2/3"), None);
    }

    #[test]
    fn a_copy_on_disk_continues_only_the_version_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b.fits");
        std::fs::write(&path, "0123456789").unwrap();
        let root = format!("file://{}", folder.path().display());
        let settings = ArchiveSettings { root, ..ArchiveSettings::default() };
        let (transport, pace) = (Transport::new(&settings), Pace::new(&settings, &Silent));
        let rest = |from| {
            let mut answer =
                transport.ask(&Source::own("a b.fits"), from, &pace).unwrap_or_else(|refusal| panic!("{refusal:?}"));
            let text = String::from_utf8(answer.body.next(&pace).unwrap()).unwrap();
            (answer.start, text, answer.version.unwrap())
        };
        let (start, text, version) = rest(None);
        assert_eq!((start, text.as_str()), (0, "0123456789"));
        assert_eq!(rest(Some((4, &version))).1, "456789");
        assert_eq!(rest(Some((4, "another"))).1, "0123456789");
        assert!(matches!(transport.ask(&Source::own("c.fits"), None, &pace), Err(Refusal::Absent(_))));
        assert_eq!(transport.size(&Source::own("a b.fits"), &pace).unwrap(), Some(10));
    }
}

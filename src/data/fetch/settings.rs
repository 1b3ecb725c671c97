//! Where the archive is, and how hard it may be asked.

use serde::{Deserialize, Serialize};

/// `[data.archive]`: the SDSS Science Archive or a mirror of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveSettings {
    /// Folder of the data release: `https://...`, `http://...`, or `file:///path` for a copy on disk.
    pub root: String,
    /// SkyServer's SQL search, which answers for catalogues in CSV.
    pub skyserver: String,
    /// Files fetched at a time.
    pub connections: usize,
    /// Requests begun in a second, by all connections together.
    pub requests_per_second: f64,
    /// Further tries of a file after one that failed in passing (a reset, a timeout, a server error, a damaged file).
    pub retries: usize,
    /// Longest silence before a connection counts as lost, and the time over which its speed is judged, in seconds.
    pub timeout_s: f64,
    /// Pause before a file's second try, doubled before each further one, give or take a half, in seconds.
    pub first_pause_s: f64,
    /// Longest pause between tries, in seconds. A server that asks for a longer one ends the run.
    pub longest_pause_s: f64,
    /// This many failures in a row, of whatever files, end the run.
    pub give_up_after: usize,
}

impl Default for ArchiveSettings {
    fn default() -> Self {
        Self {
            root: "https://data.sdss.org/sas/dr17".into(),
            skyserver: "https://skyserver.sdss.org/dr17/SkyServerWS/SearchTools/SqlSearch".into(),
            connections: 4,
            requests_per_second: 5.0,
            retries: 6,
            timeout_s: 30.0,
            first_pause_s: 1.0,
            longest_pause_s: 120.0,
            give_up_after: 25,
        }
    }
}

impl ArchiveSettings {
    /// Whether nothing was changed.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// The first setting that makes no sense, and what is wrong with it.
    ///
    /// # Errors
    /// Key and problem.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let is_http = |url: &str| {
            let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
        };
        let seconds = |value: f64| value.is_finite() && (0.0..=86_400.0).contains(&value);
        let rules = [
            (
                is_http(&self.root) || self.root.starts_with("file:///"),
                "root",
                "must be https://HOST/..., http://HOST/... or file:///PATH",
            ),
            (is_http(&self.skyserver), "skyserver", "must be https://HOST/... or http://HOST/..."),
            ((1..=32).contains(&self.connections), "connections", "must be 1 to 32"),
            (
                self.requests_per_second > 0.0 && self.requests_per_second <= 1000.0,
                "requests_per_second",
                "must be above 0 and at most 1000",
            ),
            (self.retries <= 100, "retries", "must be at most 100"),
            (seconds(self.timeout_s) && self.timeout_s >= 0.01, "timeout_s", "must be 0.01 to 86400 seconds"),
            (seconds(self.first_pause_s), "first_pause_s", "must be 0 to 86400 seconds"),
            (seconds(self.longest_pause_s), "longest_pause_s", "must be 0 to 86400 seconds"),
            (self.give_up_after > 0, "give_up_after", "must be at least 1"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, key, problem)) => Err((key, problem)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_hold_and_nonsense_is_named() {
        assert_eq!(ArchiveSettings::default().check(), Ok(()));
        let refused = |change: fn(&mut ArchiveSettings)| {
            let mut settings = ArchiveSettings::default();
            change(&mut settings);
            settings.check().unwrap_err().0
        };
        assert_eq!(refused(|settings| settings.root = "ftp://data.sdss.org".into()), "root");
        assert_eq!(refused(|settings| settings.root = "file://relative".into()), "root");
        assert_eq!(refused(|settings| settings.root = "https:///dr17".into()), "root");
        assert_eq!(refused(|settings| settings.skyserver = "file:///x".into()), "skyserver");
        assert_eq!(refused(|settings| settings.connections = 0), "connections");
        assert_eq!(refused(|settings| settings.requests_per_second = f64::NAN), "requests_per_second");
        assert_eq!(refused(|settings| settings.timeout_s = 0.0), "timeout_s");
        assert_eq!(refused(|settings| settings.first_pause_s = f64::INFINITY), "first_pause_s");
    }
}

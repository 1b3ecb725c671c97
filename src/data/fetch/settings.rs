//! Where the archive is, and how hard it may be asked.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A data release whose files maury can find.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Release {
    /// The last of SDSS-IV: allStar, and an apStar file for each star and field.
    #[default]
    Dr17,
    /// The first of SDSS-V with APOGEE's spectra: Astra's table, mwmStar and apStar files.
    Dr19,
    /// It has nothing newer of APOGEE's than DR19, in the same places.
    Dr20,
}

impl Release {
    /// Whether its catalogue and spectra are those of SDSS-V.
    pub fn is_sdss_v(self) -> bool {
        self != Self::Dr17
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Dr17 => "dr17",
            Self::Dr19 => "dr19",
            Self::Dr20 => "dr20",
        })
    }
}

/// `[data.archive]`: the SDSS Science Archive or a mirror of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveSettings {
    /// The data release that catalogue and spectra are of.
    pub release: Release,
    /// Folder of the data release: `https://...`, `http://...`, or `file:///path` for a copy on disk; empty for that of the
    /// Science Archive.
    pub root: String,
    /// Folder of DR17, of which later releases list spectra and have no files; empty for `dr17` beside `root`.
    pub dr17_root: String,
    /// Tables of the reduction of SDSS-V, `allStar-1.3-apo25m.fits`: they name every apStar file, of which the archive may have
    /// some under no other name.
    pub all_star: Vec<PathBuf>,
    /// SkyServer's SQL search, which answers for catalogues in CSV.
    pub skyserver: String,
    /// Files fetched at a time.
    #[schemars(range(min = 1, max = 32))]
    pub connections: usize,
    /// Requests begun in a second, by all connections together.
    #[schemars(range(max = 1000.0), extend("exclusiveMinimum" = 0.0))]
    pub requests_per_second: f64,
    /// Further tries of a file after one that failed in passing (a reset, a timeout, a server error, a damaged file).
    #[schemars(range(max = 100))]
    pub retries: usize,
    /// Longest silence before a connection counts as lost, and the time over which its speed is judged, in seconds.
    #[schemars(range(min = 0.01, max = 86_400.0))]
    pub timeout_s: f64,
    /// Pause before a file's second try, doubled before each further one, give or take a half, in seconds.
    #[schemars(range(min = 0.0, max = 86_400.0))]
    pub first_pause_s: f64,
    /// Longest pause between tries, in seconds. A server that asks for a longer one ends the run.
    #[schemars(range(min = 0.0, max = 86_400.0))]
    pub longest_pause_s: f64,
    /// This many failures in a row, of whatever files, end the run.
    #[schemars(range(min = 1))]
    pub give_up_after: usize,
}

impl Default for ArchiveSettings {
    fn default() -> Self {
        Self {
            release: Release::default(),
            root: String::new(),
            dr17_root: String::new(),
            all_star: Vec::new(),
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

    /// The folder of the data release.
    pub fn folder(&self) -> String {
        match self.root.trim_end_matches('/') {
            "" => format!("https://data.sdss.org/sas/{}", self.release),
            root => root.to_string(),
        }
    }

    /// The folder of DR17.
    pub fn folder_of_dr17(&self) -> String {
        let folder = self.folder();
        if !self.dr17_root.is_empty() {
            return self.dr17_root.trim_end_matches('/').to_string();
        }
        if !self.release.is_sdss_v() {
            return folder;
        }
        let (scheme, path) = folder.split_once("://").unwrap_or_default();
        let beside = path.rsplit_once('/').map_or(path, |(beside, _)| beside);
        format!("{scheme}://{beside}/dr17")
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
        let is_root = |url: &str| url.is_empty() || is_http(url) || url.starts_with("file:///");
        let is_sdss_v = self.release.is_sdss_v();
        let rules = [
            (is_root(&self.root), "root", "must be https://HOST/..., http://HOST/... or file:///PATH"),
            (is_root(&self.dr17_root), "dr17_root", "must be https://HOST/..., http://HOST/... or file:///PATH"),
            (
                is_sdss_v || self.dr17_root.is_empty(),
                "dr17_root",
                "is for later releases; the folder of DR17 itself is data.archive.root",
            ),
            (
                is_sdss_v || self.all_star.is_empty(),
                "all_star",
                "is for data.archive.release = \"dr19\"; the catalogue of DR17 names its files itself",
            ),
            (is_http(&self.skyserver), "skyserver", "must be https://HOST/... or http://HOST/..."),
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
        assert_eq!(refused(|settings| settings.dr17_root = "https://data.sdss.org/sas/dr17".into()), "dr17_root");
        let of_dr19 = |dr17_root: &str| ArchiveSettings {
            release: Release::Dr19,
            dr17_root: dr17_root.into(),
            ..ArchiveSettings::default()
        };
        assert_eq!(of_dr19("file:///copy").check(), Ok(()));
        assert_eq!(of_dr19("copy").check().unwrap_err().0, "dr17_root");
        assert_eq!(refused(|settings| settings.all_star = vec!["allStar-1.3-apo25m.fits".into()]), "all_star");
        assert_eq!(refused(|settings| settings.skyserver = "file:///x".into()), "skyserver");
    }

    #[test]
    fn every_release_has_its_folder_and_dr17_lies_beside_it() {
        let folders = |release, root: &str, dr17_root: &str| {
            let (root, dr17_root) = (root.into(), dr17_root.into());
            let settings = ArchiveSettings { release, root, dr17_root, ..ArchiveSettings::default() };
            (settings.folder(), settings.folder_of_dr17())
        };
        let both = |own: &str, dr17: &str| (own.to_string(), dr17.to_string());
        let sas = "https://data.sdss.org/sas";
        assert_eq!(folders(Release::Dr17, "", ""), both(&format!("{sas}/dr17"), &format!("{sas}/dr17")));
        assert_eq!(folders(Release::Dr19, "", ""), both(&format!("{sas}/dr19"), &format!("{sas}/dr17")));
        assert_eq!(folders(Release::Dr20, "", ""), both(&format!("{sas}/dr20"), &format!("{sas}/dr17")));
        assert_eq!(folders(Release::Dr17, "http://m/a/", ""), both("http://m/a", "http://m/a"));
        assert_eq!(folders(Release::Dr19, "file:///copy/dr19/", ""), both("file:///copy/dr19", "file:///copy/dr17"));
        assert_eq!(folders(Release::Dr19, "http://m", ""), both("http://m", "http://m/dr17"));
        assert_eq!(folders(Release::Dr19, "http://m/a", "http://n/b/"), both("http://m/a", "http://n/b"));
    }

    #[test]
    fn releases_are_written_as_they_are_called() {
        for release in [Release::Dr17, Release::Dr19, Release::Dr20] {
            let settings: ArchiveSettings = toml::from_str(&format!("release = \"{release}\"")).unwrap();
            assert_eq!(settings.release, release);
        }
        let said = toml::from_str::<ArchiveSettings>("release = \"dr18\"").unwrap_err().to_string();
        assert!(said.contains("dr18") && said.contains("dr19"), "{said}");
    }
}

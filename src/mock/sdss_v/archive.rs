//! What the archive of SDSS-V calls a star, and where it keeps a star's files (`sdss/tree`, `dr19.cfg`).

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::data::healpix::{N_SIDE, ring_pixel};
use crate::mock::allstar_file;
use crate::mock::pathology::Pathology;
use crate::mock::plan::Star;

/// Version of Astra.
pub(super) const V_ASTRA: &str = "0.6.0";
/// Version of the reduction.
pub(super) const APRED: &str = "1.3";
/// The one telescope of the mock.
pub(super) const TELESCOPE: &str = "apo25m";
/// When files say they were made, in Astra's two ways of writing it: files do not depend on the day.
pub(super) const CREATED: &str = "24-07-17 21:22:40";
pub(super) const CREATED_IN_FULL: &str = "2024-07-17T21:22:40.000000";
/// The first star's number; no star that exists has so high a one.
const FIRST_SDSS_ID: i64 = 990_000_001;

/// How the archive knows a star.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mock) struct Identity {
    /// The star's number, the same for all its spectra.
    pub(super) sdss_id: i64,
    /// Pixel of its position, nside 128 in ring order.
    pub(super) healpix: i64,
    /// Whether DR17 has a spectrum of it.
    pub(super) is_in_dr17: bool,
}

/// The identities of stars in the order of their spectra.
pub(in crate::mock) fn identities(stars: &[Star]) -> Vec<Identity> {
    let in_dr17: HashSet<&str> = stars.iter().filter(|star| is_of_dr17(star)).map(|star| star.id.as_str()).collect();
    let mut numbers: HashMap<&str, i64> = HashMap::new();
    let mut of_stars = Vec::with_capacity(stars.len());
    for star in stars {
        let next = FIRST_SDSS_ID + numbers.len() as i64;
        of_stars.push(Identity {
            sdss_id: *numbers.entry(&star.id).or_insert(next),
            healpix: ring_pixel(N_SIDE, star.ra, star.dec),
            is_in_dr17: in_dr17.contains(star.id.as_str()),
        });
    }
    of_stars
}

/// Whether a spectrum is one of DR17: the second one of its star.
pub(in crate::mock) fn is_of_dr17(star: &Star) -> bool {
    star.pathology == Pathology::Duplicate
}

/// The table of stars.
pub(in crate::mock) fn summary(root: &Path) -> PathBuf {
    root.join(format!("spectro/astra/{V_ASTRA}/summary/astraAllStarASPCAP-{V_ASTRA}.fits.gz"))
}

/// The star's coadds.
pub(in crate::mock) fn mwm_star(root: &Path, identity: &Identity) -> PathBuf {
    of_astra(root, "star", "mwmStar", identity)
}

/// The star's visits.
pub(in crate::mock) fn mwm_visit(root: &Path, identity: &Identity) -> PathBuf {
    of_astra(root, "visit", "mwmVisit", identity)
}

fn of_astra(root: &Path, folder: &str, kind: &str, identity: &Identity) -> PathBuf {
    let id = identity.sdss_id;
    let group = format!("{:02}/{:02}", id / 100 % 100, id % 100);
    root.join(format!("spectro/astra/{V_ASTRA}/spectra/{folder}/{group}/{kind}-{V_ASTRA}-{id}.fits"))
}

/// The star's coadd and visits as SDSS-V reduced them.
pub(in crate::mock) fn apstar(root: &Path, star: &Star, identity: &Identity) -> PathBuf {
    let (pixel, id) = (identity.healpix, &star.id);
    let folder = format!("spectro/apogee/redux/{APRED}/stars/{TELESCOPE}/{}/{pixel}", pixel / 1000);
    root.join(folder).join(format!("apStar-{APRED}-{TELESCOPE}-{id}.fits"))
}

/// The same of a spectrum of DR17, which lies in that release's own archive.
pub(in crate::mock) fn apstar_of_dr17(root: &Path, star: &Star) -> PathBuf {
    let folder = format!("apogee/spectro/redux/dr17/stars/{TELESCOPE}/{}", star.field.name);
    root.join(folder).join(allstar_file::spectrum_file(star))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_archive() {
        // The last four digits of 85993595 are 35 and 95; pixel 10105 lies in folder 10 (`sdss_access`).
        let identity = Identity { sdss_id: 85_993_595, healpix: 10_105, is_in_dr17: false };
        let root = Path::new("dr19");
        let star = "dr19/spectro/astra/0.6.0/spectra/star/35/95/mwmStar-0.6.0-85993595.fits";
        assert_eq!(mwm_star(root, &identity), Path::new(star));
        let visit = "dr19/spectro/astra/0.6.0/spectra/visit/35/95/mwmVisit-0.6.0-85993595.fits";
        assert_eq!(mwm_visit(root, &identity), Path::new(visit));
        let seven = Identity { sdss_id: 7, ..identity };
        assert!(mwm_star(root, &seven).ends_with("spectra/star/00/07/mwmStar-0.6.0-7.fits"));
        let table = "dr19/spectro/astra/0.6.0/summary/astraAllStarASPCAP-0.6.0.fits.gz";
        assert_eq!(summary(root), Path::new(table));
    }
}

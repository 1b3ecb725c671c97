//! What a file of a spectrum must be to be the one that a catalogue row leads to.

use std::path::Path;

use super::flaw::Flaw;
use super::whole::is_whole;
use crate::data::apstar;
use crate::data::catalogue::Catalogue;
use crate::data::sdss_v_paths::{is_of_star, part_of};
use crate::data::spectrum_file::{self, Format};
use crate::error::Error;

/// The release of Astra's tables whose spectra SDSS-IV reduced.
const DR17: &str = "dr17";

/// The spectrum of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Expected {
    /// What the star is called.
    id: String,
    /// What the reduction calls it; empty where the catalogue does not say.
    obj: String,
    telescope: String,
    /// The release that reduced it; empty in catalogues that know of only one.
    pub release: String,
}

impl Expected {
    /// The spectrum of a row.
    pub fn of(stars: &Catalogue, row: usize) -> Self {
        Self {
            id: stars.id[row].trim().into(),
            obj: stars.astra[row].obj.trim().into(),
            telescope: stars.telescope[row].clone(),
            release: stars.astra[row].release.clone(),
        }
    }

    /// Whether a file is whole and opens as a spectrum, and of this star and release where it says of which.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self, path: &Path) -> Result<(), Flaw> {
        is_whole(path).map_err(Flaw::Damaged)?;
        let damaged = |err: Error| {
            let said = err.to_string();
            Flaw::Damaged(said.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&said).to_string())
        };
        let spectrum = match self.release.as_str() {
            "" => apstar::read(path).map_err(damaged)?,
            _ => {
                let part = part_of(path, &self.telescope);
                let held = spectrum_file::observatories(path).map_err(damaged)?;
                if let (Some(wanted), Some(held)) = (part.observatory, held)
                    && !held.contains(&wanted)
                {
                    return Err(Flaw::Unfit(format!("it has no spectrum of {wanted}")));
                }
                spectrum_file::read(path, &part).map_err(damaged)?
            }
        };
        if spectrum.has_objid && ![&self.id, &self.obj].contains(&&spectrum.id) {
            return Err(Flaw::Damaged(format!("the spectrum of another star, {}", spectrum.id)));
        }
        if self.release.is_empty() {
            return Ok(());
        }
        let found = match (spectrum.format, is_of_star(path)) {
            (Format::ApStar, false) => DR17,
            (Format::ApStarSdssV, false) if self.release == DR17 => "sdss5",
            (Format::ApStarSdssV, false) => &self.release,
            (Format::MwmStar, true) if spectrum.release.is_empty() => &self.release,
            (Format::MwmStar, true) => &spectrum.release,
            (format, _) => return Err(Flaw::Damaged(format!("a file of another kind, {format}"))),
        };
        if found != self.release {
            return Err(Flaw::Unfit(format!("it has the spectrum of release {found}, not that of {}", self.release)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::catalogue::AstraSpectrum;
    use crate::data::fits::{Column, KeyValue};
    use crate::data::spectrum_examples::{N_PIXELS, apstar, coadds, mwm, with};

    fn expected(telescope: &str, release: &str) -> Expected {
        let stars = Catalogue {
            id: vec!["2MID".into()],
            telescope: vec![telescope.into()],
            astra: vec![AstraSpectrum { obj: "2MROW".into(), release: release.into(), ..AstraSpectrum::default() }],
            ..Catalogue::default()
        };
        Expected::of(&stars, 0)
    }

    fn damaged(result: Result<(), Flaw>) -> String {
        match result {
            Err(Flaw::Damaged(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn unfit(result: Result<(), Flaw>) -> String {
        match result {
            Err(Flaw::Unfit(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_mwmstar_serves_the_rows_of_its_sites_and_releases() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mwmStar-0.6.0-1.fits.part");
        let dr17 = with(coadds(&[80.0]), Column::text("release", vec!["dr17".into()]));
        mwm(&path, 0, &coadds(&[120.0]), &dr17);
        assert_eq!(expected("apo25m", "sdss5").verify(&path), Ok(()));
        assert_eq!(expected("apo1m", "sdss5").verify(&path), Ok(()));
        assert_eq!(expected("lco25m", "dr17").verify(&path), Ok(()));
        assert!(unfit(expected("apo25m", "dr17").verify(&path)).contains("release sdss5, not that of dr17"));
        mwm(&path, 1, &coadds(&[120.0]), &coadds(&[]));
        assert!(unfit(expected("lco25m", "dr17").verify(&path)).contains("no spectrum of APOGEE/LCO"));
        mwm(&path, 1, &coadds(&[]), &coadds(&[]));
        assert!(unfit(expected("apo25m", "sdss5").verify(&path)).contains("no spectrum of APOGEE/APO"));
        let other = with(coadds(&[120.0]), Column::text("obj", vec!["2MOTHER".into()]));
        mwm(&path, 0, &other, &coadds(&[]));
        assert!(damaged(expected("apo25m", "sdss5").verify(&path)).contains("another star, 2MOTHER"));
    }

    #[test]
    fn an_apstar_is_of_the_rows_release_and_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apStar-1.3-apo25m-2MROW.fits.part");
        let of = |name: &'static str, apred: &[(&'static str, KeyValue<'static>)]| {
            apstar(&path, &[&[("OBJID", KeyValue::Text(name))][..], apred].concat(), 1, &[0; N_PIXELS]);
        };
        let sdss_v = [("APRED", KeyValue::Text("1.3"))];
        of("2MROW", &sdss_v);
        assert_eq!(expected("apo25m", "sdss5").verify(&path), Ok(()));
        assert!(unfit(expected("apo25m", "dr17").verify(&path)).contains("release sdss5"));
        of("2MID", &[]);
        assert_eq!(expected("apo25m", "dr17").verify(&path), Ok(()));
        assert_eq!(expected("apo25m", "").verify(&path), Ok(()));
        assert!(unfit(expected("apo25m", "sdss5").verify(&path)).contains("release dr17"));
        of("2MOTHER", &sdss_v);
        assert!(damaged(expected("apo25m", "sdss5").verify(&path)).contains("another star"));
        mwm(&path, 0, &coadds(&[1.0]), &coadds(&[]));
        assert!(damaged(expected("apo25m", "sdss5").verify(&path)).contains("another kind, mwmStar"));
        std::fs::write(&path, "<html>").unwrap();
        assert!(damaged(expected("apo25m", "sdss5").verify(&path)).contains("no FITS header"));
    }
}

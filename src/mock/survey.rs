//! The story of a mock survey: draw the stars, observe them, combine their visits, write everything.
//!
//! Formats part where files are written, and nowhere before: stars, noise and masks do not depend on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;
use serde::Serialize;

use super::allstar_file::{self, Row};
use super::apstar_file::{self, Content, Velocities};
use super::aspcap::{self, Entry};
use super::coadd::{coadd, snr_of_unit_noise};
use super::detector::Flaws;
use super::emulator::Emulator;
use super::giants::Giants;
use super::instrument::{continuum, shifted};
use super::other_physics::OtherPhysics;
use super::pathology::Pathology;
use super::plan::{self, Star, TEFF};
use super::random::Random;
use super::sdss_v;
use super::sdss_v::archive::{self, Identity};
use super::sky::FIELDS;
use super::truth_file::{self, Truth};
use super::visit::{Light, expose};
use super::{MockFormat, MockPhysics, MockSettings};
use crate::data::files;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::spectra::grid::{APOGEE_N_PIXELS, WavelengthGrid};
use crate::spectra::night::Night;

/// Stars whose spectra are in memory at a time.
const BATCH: usize = 128;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MockSummary {
    /// Spectra, one a row of the catalogue.
    pub n_spectra: usize,
    /// Stars that the lab's cuts leave.
    pub n_stars: usize,
    /// Spectra by field.
    pub fields: BTreeMap<String, usize>,
    /// Spectra by what is wrong with them; see [`Pathology::tag`].
    pub pathologies: BTreeMap<&'static str, usize>,
    /// Bytes of all files.
    pub bytes: u64,
}

/// The catalogue of a survey in a folder.
pub fn catalogue(folder: &Path, format: MockFormat) -> PathBuf {
    match format {
        MockFormat::Dr17 => folder.join("allStar.fits"),
        MockFormat::SdssV => archive::summary(folder),
    }
}

/// The folder of its spectra: they lie below it as in the archive of the release.
pub fn spectra(folder: &Path, format: MockFormat) -> PathBuf {
    match format {
        MockFormat::Dr17 => folder.join("spectra"),
        MockFormat::SdssV => folder.to_path_buf(),
    }
}

/// The table of the truth about its stars.
pub fn truth(folder: &Path) -> PathBuf {
    folder.join("truth.csv")
}

/// Writes a survey below `folder`, which must not exist or be empty: `truth.csv`, and for DR17 `allStar.fits` and
/// `spectra/apo25m/<field>/apStar-dr17-<id>.fits`.
///
/// For SDSS-V the folder is laid out as the archive of DR19: `spectro/astra/0.6.0` with the table of stars, an mwmStar and an
/// mwmVisit of each, and `spectro/apogee/redux/1.3` with an apStar of each. A star's second spectrum, in another field, is one of
/// DR17, below `apogee/spectro/redux/dr17` as in the archive of DR17.
///
/// Memory stays flat however many stars there are, and the files do not depend on the number of threads.
///
/// # Errors
/// [`Error::Config`] for settings that cannot be; [`Error::Format`] where something is in the folder already;
/// [`Error::Io`] and [`Error::Fits`] where it cannot be written: then nothing is left of it.
pub fn write(folder: &Path, settings: &MockSettings, progress: &dyn Progress) -> Result<MockSummary> {
    settings.validate()?;
    // Half a survey is gigabytes under a hidden name: who stops it waits until they are removed.
    progress.defer_interruption(true);
    let written = files::fill_folder(folder, |folder| fill(folder, settings, progress));
    progress.defer_interruption(false);
    progress.finish();
    written
}

/// Whether a survey stands in a folder: it appears when everything is in it.
fn is_there(folder: &Path, settings: &MockSettings) -> bool {
    catalogue(folder, settings.format).is_file()
}

/// Makes sure that a survey stands in `folder`, written as by [`write()`] if it does not; none if it was there, or another program
/// has made it meanwhile, which is waited for.
///
/// # Errors
/// Those of [`write()`].
pub fn provide(folder: &Path, settings: &MockSettings, progress: &dyn Progress) -> Result<Option<MockSummary>> {
    if is_there(folder, settings) {
        return Ok(None);
    }
    if let Some(beside) = folder.parent() {
        files::create_folder(beside)?;
    }
    let lock = files::with_ending(folder, "lock");
    let file = std::fs::File::create(&lock).map_err(Error::io(&lock, "create"))?;
    if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
        tracing::info!("another maury makes this mock survey; waiting for it");
        let _ = file.lock();
    }
    let written = match is_there(folder, settings) {
        true => Ok(None),
        // Where file systems know no locks, two may have made the same: whose came first is taken.
        false => match write(folder, settings, progress) {
            Err(_) if is_there(folder, settings) => Ok(None),
            written => written.map(Some),
        },
    };
    let _ = std::fs::remove_file(&lock);
    written
}

/// What a star's observation leaves for the catalogue.
struct Observed {
    entry: Entry,
    magnitudes: [f64; 3],
    velocities: Velocities,
    snr: f64,
    snr_green: f64,
    starflag: i64,
    andflag: i64,
    bytes: u64,
}

fn fill(folder: &Path, settings: &MockSettings, progress: &dyn Progress) -> Result<MockSummary> {
    let emulator = Emulator::shipped()?;
    let stars = plan::survey(settings, &Giants::new(&emulator)?);
    let observatory = Observatory {
        seed: settings.seed,
        night: Night::shipped()?,
        wavelength: WavelengthGrid::apogee().wavelength,
        input_names: emulator.names(),
        folder,
        format: settings.format,
    };
    if settings.format == MockFormat::Dr17 {
        for field in &FIELDS {
            files::create_folder(&observatory.spectra().join(field.name))?;
        }
    }
    let identities = archive::identities(&stars);

    let other = (settings.physics == MockPhysics::Other)
        .then(|| OtherPhysics::new(settings.seed, observatory.wavelength.len()));
    progress.start("mock spectra", stars.len());
    let mut observed: Vec<Observed> = Vec::with_capacity(stars.len());
    for batch in stars.chunks(BATCH) {
        let (spectra, companions) = model_spectra(&emulator, other.as_ref(), batch);
        let batch: Result<Vec<Observed>> = batch
            .par_iter()
            .enumerate()
            .map(|(n, star)| {
                if progress.interrupted() {
                    return Err(Error::Interrupted { kept: false });
                }
                let companion = companions[n].map(|row| spectra.row(row));
                let observed = observatory.observe(star, &identities[star.index], spectra.row(n), companion);
                progress.advance(1);
                observed
            })
            .collect();
        observed.extend(batch?);
    }
    progress.finish();

    let mut order: Vec<usize> = (0..stars.len()).collect();
    // Fields in the order of their names, as the survey sorts rows of one star.
    order.sort_by(|a, b| {
        let (a, b) = (&stars[*a], &stars[*b]);
        (a.ra.total_cmp(&b.ra)).then(a.dec.total_cmp(&b.dec)).then(a.field.name.cmp(b.field.name))
    });
    let catalogue = catalogue(folder, settings.format);
    match settings.format {
        MockFormat::Dr17 => {
            let rows: Vec<Row> = order.iter().map(|n| row(&stars[*n], &observed[*n])).collect();
            allstar_file::write_table(&catalogue, &rows)?;
        }
        MockFormat::SdssV => {
            let rows: Vec<_> =
                order.iter().map(|n| row_of_sdss_v(&stars[*n], &identities[*n], &observed[*n])).collect();
            create_folder_of(&catalogue)?;
            sdss_v::summary::write_table(&catalogue, &rows)?;
        }
    }
    let truths: Vec<Truth> =
        order.iter().map(|n| Truth { star: &stars[*n], residual_kms: observed[*n].velocities.residual }).collect();
    let truth = truth(folder);
    truth_file::write(&truth, emulator.names(), &truths)?;

    let mut summary = MockSummary {
        n_spectra: stars.len(),
        n_stars: settings.stars,
        fields: BTreeMap::new(),
        pathologies: BTreeMap::new(),
        bytes: size(&catalogue)? + size(&truth)? + observed.iter().map(|observed| observed.bytes).sum::<u64>(),
    };
    for star in &stars {
        *summary.fields.entry(star.field.name.to_string()).or_default() += 1;
        if star.pathology != Pathology::None {
            *summary.pathologies.entry(star.pathology.tag()).or_default() += 1;
        }
    }
    Ok(summary)
}

/// Spectra of a batch, companions behind the stars; and where each star's companion is.
fn model_spectra(
    emulator: &Emulator,
    other: Option<&OtherPhysics>,
    stars: &[Star],
) -> (Array2<f32>, Vec<Option<usize>>) {
    let mut next = stars.len();
    let companions: Vec<Option<usize>> = stars
        .iter()
        .map(|star| {
            star.companion.as_ref().map(|_| {
                next += 1;
                next - 1
            })
        })
        .collect();
    let inputs = stars.iter().map(|star| &star.inputs);
    let inputs = inputs.chain(stars.iter().filter_map(|star| Some(&star.companion.as_ref()?.inputs)));
    let flat: Vec<f64> = inputs.flatten().copied().collect();
    let n_inputs = emulator.names().len();
    let inputs = Array2::from_shape_fn((next, n_inputs), |(row, input)| flat[row * n_inputs + input]);
    let spectra = match other {
        None => emulator.spectra(inputs.view()),
        Some(other) => other.changed(&emulator.spectra(other.inputs(inputs.view()).view())),
    };
    (spectra, companions)
}

fn row<'a>(star: &'a Star, observed: &'a Observed) -> Row<'a> {
    Row {
        star,
        entry: &observed.entry,
        magnitudes: observed.magnitudes,
        snr: observed.snr,
        snr_green: observed.snr_green,
        starflag: observed.starflag,
        andflag: observed.andflag,
        velocity_kms: observed.velocities.mean,
        velocity_scatter_kms: observed.velocities.scatter,
    }
}

fn row_of_sdss_v<'a>(star: &'a Star, identity: &'a Identity, observed: &'a Observed) -> sdss_v::summary::Row<'a> {
    sdss_v::summary::Row {
        star,
        identity,
        entry: &observed.entry,
        magnitudes: observed.magnitudes,
        velocities: &observed.velocities,
        snr: observed.snr,
        starflag: observed.starflag,
    }
}

fn create_folder_of(file: &Path) -> Result<()> {
    file.parent().map_or(Ok(()), files::create_folder)
}

fn size(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).map_err(Error::io(path, "read"))?.len())
}

/// All that is the same for every star.
struct Observatory<'a> {
    seed: u64,
    night: Night,
    wavelength: Vec<f64>,
    input_names: &'a [String],
    folder: &'a Path,
    format: MockFormat,
}

impl Observatory<'_> {
    /// Where DR17's files go, by field.
    fn spectra(&self) -> PathBuf {
        spectra(self.folder, self.format).join("apo25m")
    }

    /// Observes a star, writes its files and returns its line of the catalogue.
    fn observe(
        &self,
        star: &Star,
        identity: &Identity,
        model: ArrayView1<f32>,
        companion: Option<ArrayView1<f32>>,
    ) -> Result<Observed> {
        let mut random = star.observation(self.seed);
        let light = self.light(star, model, companion, &mut random);
        let velocities = velocities(star, &mut random);
        let exposures: Vec<_> = star
            .visits
            .iter()
            .zip(&velocities.visits)
            .map(|(plan, barycentric)| {
                expose(&light, plan, barycentric - plan.barycentric_kms, &self.night, self.seed, &mut random)
            })
            .collect();
        let noise_scale = snr_of_unit_noise(&exposures) / star.snr;
        let visits: Vec<_> = exposures
            .into_iter()
            .map(|exposure| exposure.read_out(noise_scale, star.error_scale, &mut random))
            .collect();
        let coadd = coadd(&visits);

        let neighbour = if random.chance(0.02) { 1 << 2 } else { 0 };
        let of_star = match star.pathology {
            Pathology::DeadChip => 1,
            Pathology::Binary if random.chance(0.5) => 1 << 21,
            _ => 0,
        } | neighbour;
        let flags: Vec<i64> = star
            .visits
            .iter()
            .zip(&visits)
            .map(|(plan, visit)| {
                let persistence = if Flaws::persists(plan.fibre) { 1 << 9 } else { 0 };
                of_star | persistence | if visit.snr < 10.0 { 1 << 4 } else { 0 }
            })
            .collect();
        let starflag = flags.iter().fold(0, |all, flag| all | flag);
        let andflag = flags.iter().fold(-1, |all, flag| all & flag);
        let later = &mut star.later_labels(self.seed);
        let entry = aspcap::entry(star, self.input_names, coadd.snr, &mut random, later);
        let magnitudes = magnitudes(star, &mut random);
        let content = Content {
            star,
            colours: magnitudes,
            entry: &entry,
            velocities: &velocities,
            coadd: &coadd,
            visits: &visits,
            flags: &flags,
            starflag,
            andflag,
        };
        let bytes = self.write(&content, identity, &mut random)?;
        Ok(Observed {
            magnitudes,
            snr: coadd.snr,
            snr_green: coadd.snr_green,
            starflag,
            andflag,
            bytes,
            entry,
            velocities,
        })
    }

    /// Writes the files of a spectrum; their bytes.
    fn write(&self, content: &Content, identity: &Identity, random: &mut Random) -> Result<u64> {
        let star = content.star;
        let paths = match self.format {
            MockFormat::Dr17 => {
                let path = self.spectra().join(star.field.name).join(allstar_file::spectrum_file(star));
                apstar_file::write(&path, content, random)?;
                vec![path]
            }
            MockFormat::SdssV if archive::is_of_dr17(star) => {
                let path = archive::apstar_of_dr17(self.folder, star);
                create_folder_of(&path)?;
                apstar_file::write(&path, content, random)?;
                vec![path]
            }
            MockFormat::SdssV => {
                let apstar = archive::apstar(self.folder, star, identity);
                let coadds = archive::mwm_star(self.folder, identity);
                let visits = archive::mwm_visit(self.folder, identity);
                [&apstar, &coadds, &visits].into_iter().try_for_each(|path| create_folder_of(path))?;
                sdss_v::apstar::write(&apstar, content, identity, random)?;
                sdss_v::mwm::write_star(&coadds, content, identity)?;
                sdss_v::mwm::write_visits(&visits, content, identity)?;
                vec![apstar, coadds, visits]
            }
        };
        paths.iter().map(|path| size(path)).sum()
    }

    /// The star's light, that of a companion mixed in.
    fn light(
        &self,
        star: &Star,
        model: ArrayView1<f32>,
        companion: Option<ArrayView1<f32>>,
        random: &mut Random,
    ) -> Light {
        let own: Vec<f64> = model.iter().map(|flux| f64::from(*flux)).collect();
        let normalized = match (&star.companion, companion) {
            (Some(companion), Some(model)) => {
                let other: Vec<f64> = model.iter().map(|flux| f64::from(*flux)).collect();
                let share = companion.flux_ratio / (1.0 + companion.flux_ratio);
                // The pipeline finds the velocity of the light's centre: it lies between the two.
                let own = shifted(&own, -share * companion.velocity_kms);
                let other = shifted(&other, (1.0 - share) * companion.velocity_kms);
                own.iter().zip(&other).map(|(own, other)| (1.0 - share) * own + share * other).collect()
            }
            _ => own,
        };
        Light {
            normalized,
            continuum: continuum(&self.wavelength, star.inputs[TEFF], star.extinction_k, star.h_mag),
            floor: Light::floor(APOGEE_N_PIXELS, random),
            pathology: star.pathology,
            dead_chip: (random.below(3), random.chance(0.5)),
        }
    }
}

/// Velocities as measured: the true one less what stays in the spectra.
fn velocities(star: &Star, random: &mut Random) -> Velocities {
    let visits: Vec<f64> = star.visits.iter().map(|visit| star.velocity_kms - visit.residual_kms).collect();
    let weights: Vec<f64> = star.visits.iter().map(|visit| visit.weight * visit.weight).collect();
    let total: f64 = weights.iter().sum();
    let mean = visits.iter().zip(&weights).map(|(velocity, weight)| velocity * weight).sum::<f64>() / total;
    let n = visits.len() as f64;
    let variance = visits.iter().map(|velocity| (velocity - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    let errors: f64 = star.visits.iter().map(|visit| visit.velocity_error_kms.powi(-2)).sum();
    Velocities {
        mean,
        scatter: variance.sqrt(),
        error: errors.powf(-0.5) * random.lognormal(0.05),
        residual: star.velocity_kms - mean,
        visits,
    }
}

/// J, H and K of a giant of this temperature behind its dust, with 2MASS's errors.
fn magnitudes(star: &Star, random: &mut Random) -> [f64; 3] {
    // Rough colours of giants: cooler ones are redder. Dust: A_J, A_H = 2.5, 1.55 A_K.
    let cool = (4600.0 - star.inputs[TEFF]) / 1000.0;
    let j_h = 0.58 + 0.28 * cool + 0.95 * star.extinction_k + 0.02 * random.normal();
    let h_k = 0.11 + 0.10 * cool + 0.55 * star.extinction_k + 0.02 * random.normal();
    [star.h_mag + j_h, star.h_mag, star.h_mag - h_k]
}

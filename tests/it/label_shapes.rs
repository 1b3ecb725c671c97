//! What `maury label` writes for other programs: columns handed on, the survey's own layouts, best fits that specutils opens.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use maury::data::arrays;
use maury::data::fits::FitsReader;

use crate::labelling::{killed, many};
use crate::support::{
    N_PIXELS, column, csv, maury, python_has, real_data, refused, save, succeeded, survey, told, truth,
};

const MODEL: &str = "experiments/lab/latest/models/cannon";

/// A small survey with a Cannon of three labels, and its spectra.
fn labelled_survey(calibrated: bool) -> (tempfile::TempDir, Vec<String>) {
    // A calibration wants some thirty stars held out.
    let folder = survey(if calibrated { 80 } else { 40 });
    let folds = if calibrated { "calibration.folds=2" } else { "calibration.folds=0" };
    succeeded(folder.path(), &["run", "lab.toml", "--set", "models.cannon.cannon.order=1", "--set", folds]);
    let star = |n: usize| format!("spectra/apo25m/M15/apStar-dr17-2M{n:08}+1234567.fits");
    (folder, (0..4).map(star).collect())
}

fn label(folder: &Path, out: &str, more: &[&str], spectra: &[String]) -> Output {
    let spectra: Vec<&str> = spectra.iter().map(String::as_str).collect();
    let words = [&["label", "--model", MODEL, "--out", out], more, &spectra[..]].concat();
    let output = maury(folder, &words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs a script whose warnings are errors, with these arguments; what it says.
fn python(script: &str, arguments: &[&Path]) -> String {
    let output = Command::new("python3").args(["-W", "error", "-c", script]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn columns_are_handed_on_through_a_killed_job_and_tell_journals_apart() {
    let (folder, mut spectra) = labelled_survey(false);
    let here = folder.path();
    spectra.push("absent.fits".into());
    std::fs::write(here.join("list.txt"), spectra.join("\n")).unwrap();
    let asked = ["--columns", "snr,FIELD,nvisits,crval1,nothing", "--list", "list.txt"];
    let output = label(here, "a", &asked, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--columns nothing: no spectrum has it"), "{said}");
    let table = here.join("a.csv");
    let (names, rows) = csv(&table);
    assert_eq!(names[..7], ["id", "file", "snr", "FIELD", "nvisits", "crval1", "nothing"]);
    assert_eq!(rows[1][2..7], ["100.0", "M15", "1.0", "4.179", ""]);
    assert_eq!(rows[4][2..7], ["", "", "", "", ""]);
    let mut fits = FitsReader::open(&here.join("a.fits")).unwrap();
    assert_eq!(fits.texts(1, "FIELD", 0..5).unwrap(), ["M15", "M15", "M15", "M15", ""]);
    let crval = fits.numbers(1, "crval1", 0..5).unwrap();
    assert!(crval[0] == 4.179 && crval[4].is_nan());

    // What a job that was killed left behind goes into the table of the next one, and not into that of other columns.
    many(&here.join("many"), 1100);
    let words = |columns: &'static str| ["label", "--model", MODEL, "--out", "b", "--columns", columns, "many"];
    let journal = here.join("b.unfinished.jsonl");
    let done = killed(here, &words("ra,field"), &journal);
    assert!((1..1100).contains(&done), "killed with {done} rows");
    refused(here, &words("ra"), 1, &["begun with another model or other settings"]);
    refused(here, &["label", "--model", MODEL, "--out", "b", "many"], 1, &["begun with another model"]);
    told(here, &words("ra,field"), &["of 1100 spectra are labelled already"]);
    let table = here.join("b.csv");
    assert_eq!(column(&table, "ra"), vec!["297.210723"; 1100]);
    assert_eq!(column(&table, "field"), vec!["K04_083+13"; 1100]);
    assert!(!journal.exists());
}

#[test]
fn columns_of_arrays_are_those_of_the_table_that_names_the_stars() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let truth = truth(60, 2, 30, 71);
    save(here, "flux.npy", &truth.flux);
    save(here, "ivar.npy", &truth.ivar);
    let long = 3_000_000_000_000_000_000_i64;
    let row = |(n, row): (usize, ndarray::ArrayView1<f64>)| {
        let source = if n == 3 { String::new() } else { (long + n as i64).to_string() };
        format!("s{n:03},{},{},{:04},{source},{}.5\n", row[0], row[1], n, n)
    };
    let rows: String = truth.labels.rows().into_iter().enumerate().map(row).collect();
    std::fs::write(here.join("stars.csv"), format!("id,teff,logg,plate,source,mag\n{rows}")).unwrap();
    let experiment = "labels = [\"teff\", \"logg\"]\n[data.arrays]\nflux = \"flux.npy\"\nivar = \"ivar.npy\"\n\
                      labels = \"stars.csv\"\n[continuum]\nmethod = \"none\"\n";
    std::fs::write(here.join("lab.toml"), experiment).unwrap();
    succeeded(here, &["run", "lab.toml", "--set", "calibration.folds=0"]);
    let arrays = ["--flux", "flux.npy", "--ivar", "ivar.npy"];
    let with_ids = [&arrays[..], &["--ids", "stars.csv"]].concat();
    label(here, "a", &[&with_ids[..], &["--columns", "plate,source,MAG"]].concat(), &[]);
    let table = here.join("a.csv");
    assert_eq!(column(&table, "plate")[7], "0007");
    assert_eq!(
        (column(&table, "source")[2].as_str(), column(&table, "source")[3].as_str()),
        ("3000000000000000002", "")
    );
    assert_eq!(column(&table, "MAG")[59], "59.5");
    let one = [&with_ids[..], &["--columns", "mag", "--star", "s007"]].concat();
    label(here, "one", &one, &[]);
    assert_eq!(column(&here.join("one.csv"), "mag"), ["7.5"]);
    let refuse = |more: &[&str], code: i32, said: &[&str]| {
        refused(here, &[&["label", "--model", MODEL, "--out", "no"], more].concat(), code, said);
        assert!(!here.join("no.csv").exists() && !here.join("no.unfinished.jsonl").exists());
    };
    refuse(&[&with_ids[..], &["--columns", "plat"]].concat(), 1, &["stars.csv: no column plat", "plate"]);
    refuse(&[&arrays[..], &["--columns", "plate"]].concat(), 2, &["--columns plate: arrays have no headers", "--ids"]);
    let spectra = ["--spectra", "--spectra-shape", "mwm"];
    refuse(&[&with_ids[..], &spectra].concat(), 2, &["pixels of apStar files", "--spectra-shape arrays"]);

    // Without what an apStar file says, the survey's layout has what it has for nothing.
    label(here, "astra", &[&with_ids[..], &["--shape", "astra", "--columns", "plate"]].concat(), &[]);
    let astra = here.join("astra.csv");
    assert_eq!(
        ["sdss_id", "obj", "telescope", "plate"].map(|name| column(&astra, name)[5].clone()),
        ["-1", "s005", "", "0005"]
    );

    label(here, "b", &[&with_ids[..], &["--spectra", "--spectra-shape", "arrays"]].concat(), &[]);
    let read = |name: &str| arrays::read_matrix(&here.join("b-spectra").join(name)).unwrap();
    let [flux, model, residual] = ["flux.npy", "model.npy", "residual.npy"].map(read);
    let scatter = arrays::read_numbers(&here.join("b-spectra/scatter.npy")).unwrap();
    assert!(scatter.len() == 30 && scatter.iter().filter(|scatter| **scatter >= 0.0).count() > 20, "{scatter:?}");
    assert_eq!(flux.dim(), (60, 30));
    for ((star, pixel), residual) in residual.indexed_iter() {
        let (flux, model) = (flux[[star, pixel]], model[[star, pixel]]);
        assert!(*residual == flux - model || residual.is_nan() && (flux.is_nan() || model.is_nan()), "{star} {pixel}");
        assert!(truth.ivar[[star, pixel]] > 0.0 || flux.is_nan());
    }
}

#[test]
fn the_layout_of_the_survey_has_its_columns_fill_values_and_errors() {
    for calibrated in [true, false] {
        let (folder, mut spectra) = labelled_survey(calibrated);
        let here = folder.path();
        std::fs::write(here.join("broken.fits"), "x").unwrap();
        spectra.push("broken.fits".into());
        label(here, "own", &[], &spectra);
        label(here, "astra", &["--shape", "astra"], &spectra);
        let mut own = FitsReader::open(&here.join("own.fits")).unwrap();
        let mut astra = FitsReader::open(&here.join("astra.fits")).unwrap();
        assert_eq!(astra.n_hdus().unwrap(), 3);
        let [(n_boss, boss), (n_rows, names)] = [1, 2].map(|hdu| astra.table_layout(hdu).unwrap());
        assert_eq!((n_boss, n_rows, &boss), (0, 5, &names));
        assert!(names.iter().all(|name| *name == name.to_lowercase()), "{names:?}");
        let error = if calibrated { "error_calibrated" } else { "error" };
        for label in ["teff", "logg", "fe_h"] {
            let (value, e, raw) = (label.to_string(), format!("e_{label}"), format!("raw_e_{label}"));
            for (name, of_own) in [(value, "estimate"), (e, error), (raw, "error")] {
                let ours = own.numbers(1, &format!("{label}_{of_own}"), 0..5).unwrap();
                let theirs = astra.numbers(2, &name, 0..5).unwrap();
                assert!((0..4).all(|row| theirs[row] == f64::from(ours[row] as f32)), "{name}: {theirs:?} {ours:?}");
                assert!(theirs[4].is_nan(), "{name}");
            }
        }
        let flags = own.integers(1, "flags", 0..5).unwrap();
        assert_eq!(astra.integers(2, "result_flags", 0..5).unwrap(), flags);
        let warn: Vec<Option<bool>> = flags.iter().map(|flags| Some(*flags != 0)).collect();
        assert_eq!(astra.logicals(2, "flag_warn", 0..5).unwrap(), warn);
        let bad = astra.logicals(2, "flag_bad", 0..5).unwrap();
        assert!(bad[4] == Some(true) && bad.contains(&Some(false)), "{bad:?}");
        let reduced = astra.numbers(2, "rchi2", 0..5).unwrap();
        let chi2 = astra.numbers(2, "chi2", 0..5).unwrap();
        // Some 7000 pixels count.
        assert!((0..4).all(|row| (3000.0..8575.0).contains(&(chi2[row] / reduced[row]))), "{chi2:?} {reduced:?}");
        assert_eq!(astra.integers(2, "sdss_id", 0..5).unwrap(), [-1; 5]);
        assert_eq!(astra.texts(2, "obj", 0..2).unwrap(), ["2M00000000+1234567", "2M00000001+1234567"]);
        assert_eq!(astra.texts(2, "field", 0..5).unwrap(), ["M15", "M15", "M15", "M15", ""]);
        assert_eq!(astra.integers(2, "n_visits", 0..5).unwrap(), [1, 1, 1, 1, -1]);
        assert_eq!(astra.key_text(0, "PIPELINE").as_deref(), Some("maury"));
        assert_eq!(
            (astra.key_text(2, "INSTRMNT").as_deref(), astra.key_text(2, "MODEL").as_deref()),
            (Some("APOGEE"), Some("cannon"))
        );
        assert!((0..3).all(|hdu| astra.has_key(hdu, "CREATED") && astra.has_key(hdu, "DATASUM")));
        // A table of the other layout is another table.
        let again = [
            &["label", "--model", MODEL, "--out", "astra"],
            &spectra.iter().map(String::as_str).collect::<Vec<_>>()[..],
        ];
        refused(here, &again.concat(), 2, &["astra.fits: a table of another model or of other files is there"]);
        label(here, "astra", &["--shape", "astra"], &spectra);

        if !python_has("astropy", "opening tables of labels in astropy") {
            continue;
        }
        let script = "import sys\nfrom astropy.io import fits\nfrom astropy.table import Table\n\
            for path in sys.argv[1:]:\n    with fits.open(path, checksum=True) as f:\n        f.verify('exception')\n\
            own, astra = sys.argv[1:]\nt = Table.read(own, hdu=1)\nassert len(t) == 5 and t['teff_estimate'].unit == 'K', t\n\
            assert t.meta['ERRORS'].split()[0].strip(':') in ('formal', 'calibrated') and len(t.meta['ERRORS']) > 68, t.meta\n\
            assert len(Table.read(astra, hdu=1)) == 0\nt = Table.read(astra, hdu=2)\n\
            assert t['flag_bad'].dtype == bool and t['teff'].dtype.itemsize == 4, t.info\n\
            assert t['ra'].unit == 'deg' and t['e_teff'].unit == 'K', t.info\n\
            assert bool(t['flag_bad'][4]) and t['result_flags'].dtype.itemsize == 8, t.info\n\
            h = fits.getheader(astra, 2)\n\
            assert all(h['TCOMM%d' % n] for n in range(1, h['TFIELDS'] + 1))\nprint('whole')\n";
        assert_eq!(python(script, &[&here.join("own.fits"), &here.join("astra.fits")]).trim(), "whole");
    }
}

#[test]
fn best_fits_as_files_of_stars_are_whole_and_read_as_spectra_again() {
    let (folder, mut spectra) = labelled_survey(false);
    let here = folder.path();
    // The same star again, in another file.
    std::fs::copy(here.join(&spectra[0]), here.join("again.fits")).unwrap();
    spectra.push("again.fits".into());
    let shape = ["--spectra", "--spectra-shape", "mwm"];
    let output = label(here, "a", &shape, &spectra);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("a-spectra: their best fits") && !here.join("a-spectra.fits").exists(), "{said}");
    label(here, "b", &["--spectra"], &spectra);
    let files = column(&here.join("a-spectra/stars.csv"), "spectrum");
    assert_eq!(files[0], "spectrum-2M00000000+1234567.fits");
    assert_eq!(files[4], "spectrum-2M00000000+1234567.2.fits");
    assert_eq!(column(&here.join("a-spectra/stars.csv"), "file"), spectra);
    let mut all = FitsReader::open(&here.join("b-spectra.fits")).unwrap();
    let paths: Vec<PathBuf> = files.iter().map(|file| here.join("a-spectra").join(file)).collect();
    for (star, path) in paths.iter().enumerate() {
        let mut fits = FitsReader::open(path).unwrap();
        assert_eq!([1, 2, 3, 4].map(|hdu| fits.table_layout(hdu).unwrap().0), [0, 0, 1, 0]);
        let range = star * N_PIXELS..(star + 1) * N_PIXELS;
        let mut image = |hdu: usize| all.image_section::<f64>(hdu, range.clone()).unwrap();
        let (flux, ivar, model, continuum) = (image(1), image(2), image(3), image(5));
        let mut vector = |name: &str| fits.row_vector(3, name, 0, N_PIXELS).unwrap();
        assert_eq!(format!("{:?}", vector("normalized_flux")), format!("{flux:?}"));
        assert_eq!(format!("{:?}", vector("model")), format!("{model:?}"));
        let scatter = vector("scatter");
        assert!((0..N_PIXELS).all(|j| scatter[j].is_finite() || model[j].is_nan()));
        let (observed, weights, masked) = (vector("flux"), vector("ivar"), vector("pixel_flags"));
        let n_good = ivar.iter().filter(|ivar| **ivar > 0.0).count();
        assert!(n_good > 5000, "{n_good}");
        for j in 0..N_PIXELS {
            assert_eq!((masked[j] == 0.0, weights[j] > 0.0), (ivar[j] > 0.0, ivar[j] > 0.0), "{j}");
            if ivar[j] > 0.0 {
                assert!((observed[j] / (flux[j] * continuum[j]) - 1.0).abs() < 1e-6, "{j}");
                assert!((weights[j] * continuum[j].powi(2) / ivar[j] - 1.0).abs() < 1e-5, "{j}");
            }
        }
    }
    // What is observed in them is what was observed: they get the labels that their stars got.
    let again: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    label(here, "c", &[], &again);
    let [mut before, mut after] = ["a.fits", "c.fits"].map(|name| FitsReader::open(&here.join(name)).unwrap());
    for name in ["teff", "logg", "fe_h"] {
        let of = |fits: &mut FitsReader, kind: &str| fits.numbers(1, &format!("{name}_{kind}"), 0..5).unwrap();
        let (old, new, error) = (of(&mut before, "estimate"), of(&mut after, "estimate"), of(&mut before, "error"));
        assert!((0..5).all(|row| (old[row] - new[row]).abs() < 0.5 * error[row]), "{name}: {old:?} {new:?} {error:?}");
    }
    // Named by their folder they are the same, without the table that is there as well; nor are labels spectra.
    std::fs::copy(here.join("a.fits"), here.join("a-spectra/labels.fits")).unwrap();
    let output = label(here, "d", &[], &["a-spectra".to_string()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("2 files that maury wrote and that hold no spectra are passed over"), "{said}");
    assert_eq!(column(&here.join("d.csv"), "id").len(), 5);
    std::fs::remove_file(here.join("a-spectra/labels.fits")).unwrap();
    // Below a folder of spectra they are no further stars, and the same words make the same again.
    for name in ["2M00000000", "2M00000001"] {
        let from = format!("spectra/apo25m/M15/apStar-dr17-{name}+1234567.fits");
        std::fs::create_dir_all(here.join("own")).unwrap();
        std::fs::copy(here.join(&from), here.join("own").join(format!("apStar-dr17-{name}+1234567.fits"))).unwrap();
    }
    let own = ["own".to_string()];
    label(here, "own/e", &shape, &own);
    label(here, "own/e", &shape, &own);
    let output = label(here, "f", &[], &own);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("2 best fits that maury wrote beside spectra are passed over"), "{said}");
    assert_eq!(column(&here.join("f.csv"), "id").len(), 2);
    label(here, "g", &[], &["own/e-spectra".to_string()]);
    assert_eq!(column(&here.join("g.csv"), "id").len(), 2);
    let inside = [&["label", "--model", MODEL, "--out", "a", "--overwrite"], &shape[..], &[again[0].as_str()]].concat();
    refused(here, &inside, 2, &["the best fits would replace spectra that are in"]);
    // The same again replaces its folder; what holds anything else stays.
    label(here, "a", &[&shape[..], &["--overwrite"]].concat(), &spectra[..2]);
    assert_eq!(std::fs::read_dir(here.join("a-spectra")).unwrap().count(), 4);
    std::fs::write(here.join("a-spectra/notes.txt"), "mine").unwrap();
    let words =
        [&["label", "--model", MODEL, "--out", "a", "--overwrite"], &shape[..], &[spectra[0].as_str()]].concat();
    refused(here, &words, 2, &["a-spectra is there and holds other things than best fits"]);
    assert_eq!(std::fs::read_dir(here.join("a-spectra")).unwrap().count(), 5);
    refused(here, &["label", "--model", MODEL, "--out", "a", "--spectra-shape", "mwm", "spectra"], 2, &["--spectra"]);
    open_in_specutils(&paths[..2], 1);
}

/// Opens each file as whoever has specutils does, without a word about its format.
fn open_in_specutils(paths: &[PathBuf], n_spectra: usize) {
    if !python_has("specutils", "opening best fits in specutils") {
        return;
    }
    let script = "import sys, warnings\nimport numpy as np\nimport specutils\nfrom astropy.io import fits\n\
        from specutils import Spectrum, SpectrumList\nv = 'specutils ' + specutils.__version__\n\
        warnings.filterwarnings('ignore', message='HDU not specified')\n\
        for path in sys.argv[2:]:\n    with fits.open(path, checksum=True) as f:\n        f.verify('exception')\n\
        \x20   s = Spectrum.read(path)\n    assert s.flux.shape == (8575,), (v, s.flux.shape)\n\
        \x20   assert abs(s.spectral_axis.value[0] - 15100.80154) < 0.002, (v, s.spectral_axis[0])\n\
        \x20   assert s.meta['datatype'] == 'mwmStar' and s.meta['instrument'] == 'APOGEE', (v, s.meta)\n\
        \x20   good = ~s.mask\n    assert good.sum() > 5000 and np.isfinite(s.flux.value[good]).all(), (v, good.sum())\n\
        \x20   assert (s.uncertainty.array[good] > 0).all(), v\n\
        \x20   assert len(SpectrumList.read(path)) == int(sys.argv[1]), v\nprint(v)\n";
    let count = PathBuf::from(n_spectra.to_string());
    let arguments: Vec<&Path> = std::iter::once(&count).chain(paths).map(PathBuf::as_path).collect();
    let said = python(script, &arguments);
    assert!(said.starts_with("specutils "), "{said}");
}

#[test]
fn spectra_of_sdss_v_bring_their_identifiers_along() {
    let Some(data) = real_data("sdss_v") else { return };
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/payne-hband").display().to_string();
    let file = |name: &str| data.join(name).display().to_string();
    let spectra = [
        file("apStar-1.3-apo25m-2M00000001+0000001.fits"),
        file("mwmStar-0.6.0-99990102.fits") + "[APOGEE/LCO]",
        file("mwmVisit-0.6.0-99990001.fits") + "[APOGEE/APO visit 2]",
    ];
    let words = [
        "label",
        "--model",
        &model,
        "--nuisances",
        "fixed",
        "--out",
        "t",
        "--shape",
        "astra",
        "--columns",
        "RA,cat_id,jmag",
    ];
    let words =
        [&words[..], &["--spectra", "--spectra-shape", "mwm"], &spectra.each_ref().map(String::as_str)].concat();
    succeeded(here, &words);
    let mut fits = FitsReader::open(&here.join("t.fits")).unwrap();
    let ids = fits.integers(2, "sdss_id", 0..3).unwrap();
    assert_eq!((ids[0], ids[2]), (99_990_001, 99_990_001));
    assert_eq!(ids[1], 99_990_102);
    assert_eq!(fits.texts(2, "apred", 0..3).unwrap()[..2], ["1.3", "1.3"]);
    assert_eq!(fits.texts(2, "telescope", 0..3).unwrap(), ["", "lco25m", "apo25m"]);
    assert_eq!(fits.texts(2, "release", 0..3).unwrap(), ["", "sdss5", "sdss5"]);
    assert_eq!(fits.integers(2, "healpix", 0..1).unwrap(), [10_105]);
    let ra = fits.numbers(2, "ra", 0..3).unwrap();
    assert!(ra.iter().all(|ra| (0.0..360.0).contains(ra)) && (ra[0] - 263.478_474).abs() < 1e-9, "{ra:?}");
    let velocity = fits.numbers(2, "v_rad", 0..3).unwrap();
    assert!((velocity[0] - 15.5).abs() < 1e-5, "{velocity:?}");
    let (_, names) = fits.table_layout(2).unwrap();
    let named = |name: &str| names.iter().filter(|known| *known == name).count();
    assert_eq!([named("ra"), named("cat_id"), named("jmag")], [1, 1, 1]);
    assert!(fits.numbers(2, "jmag", 0..3).unwrap()[0].is_finite());
    // Each in the table of its observatory.
    let files = column(&here.join("t-spectra/stars.csv"), "spectrum");
    let paths: Vec<PathBuf> = files.iter().map(|file| here.join("t-spectra").join(file)).collect();
    for (path, hdu) in paths.iter().zip([3, 4, 3]) {
        let mut fits = FitsReader::open(path).unwrap();
        assert_eq!(fits.table_layout(hdu).unwrap().0, 1, "{}", path.display());
        assert!(fits.numbers(hdu, "teff", 0..1).unwrap()[0].is_finite());
    }
    open_in_specutils(&paths, 1);
    // Of a visit's row nothing is the star's.
    let visits = ["label", "--model", &model, "--nuisances", "fixed", "--out", "v", "--shape", "astra", "--visits"];
    succeeded(here, &[&visits[..], &[&spectra[0]]].concat());
    let mut of_visits = FitsReader::open(&here.join("v.fits")).unwrap();
    for (name, expected) in [("min_mjd", [59_804, 59_805]), ("max_mjd", [59_804, 59_805]), ("n_visits", [1, 1])] {
        assert_eq!(of_visits.integers(2, name, 0..2).unwrap(), expected, "{name}");
    }
    assert_eq!(of_visits.numbers(2, "v_rad", 0..2).unwrap(), [15.5, 15.5]);
    let wavelength = FitsReader::open(&paths[1]).unwrap().row_vector(4, "wavelength", 0, N_PIXELS).unwrap();
    assert!((wavelength[0] - 15_100.801_54).abs() < 0.001 && wavelength.len() == N_PIXELS);
}

#[test]
fn csv_rounds_by_less_than_a_thousandth_of_the_error() {
    let (folder, spectra) = labelled_survey(true);
    let here = folder.path();
    label(here, "a", &[], &spectra);
    let mut fits = FitsReader::open(&here.join("a.fits")).unwrap();
    let (names, rows) = csv(&here.join("a.csv"));
    for (index, name) in names.iter().enumerate().skip(2) {
        let exact = fits.numbers(1, name, 0..4).unwrap();
        for (row, exact) in rows.iter().zip(exact) {
            let written: f64 = row[index].parse().unwrap();
            let scale = match name.strip_suffix("_estimate") {
                Some(label) => {
                    20.0 * row[names.iter().position(|known| *known == format!("{label}_error")).unwrap()]
                        .parse::<f64>()
                        .unwrap()
                }
                None => exact.abs(),
            };
            assert!((written - exact).abs() <= 5.01e-5 * scale, "{name}: {written} for {exact}");
            let digits = row[index].chars().filter(char::is_ascii_digit).count();
            assert!(digits <= 10, "{name}: {}", row[index]);
        }
    }
}

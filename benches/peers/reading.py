"""Reading apStar files with astropy and fitsio: flux, error and mask of the coadd (row 0 of HDUs 1 to 3).

- `astropy`: `fits.open`, opened lazily and memory-mapped as it is by default.
- `getdata`: `fits.getdata` for each of the three images and `fits.getheader`, as most notebooks do.
- `fitsio`: cfitsio from Python, row 0 alone.

`--prepare` does what `maury prepare` does: mask, normalize, and write one FITS file of all spectra.
`--make N` makes N files to read, and their catalogue, from real ones.

    python reading.py --survey FOLDER --reader astropy --out OUT.json
"""

import argparse
import pathlib

import astropy
import numpy as np
from astropy.io import fits

import continuum
import measure


def read_astropy(path):
    with fits.open(path) as hdus:
        header = hdus[0].header
        images = [np.atleast_2d(hdus[hdu].data)[0].copy() for hdu in (1, 2, 3)]
        return header["OBJID"], header["SNR"], *images


def read_getdata(path):
    header = fits.getheader(path)
    images = [np.atleast_2d(fits.getdata(path, hdu))[0] for hdu in (1, 2, 3)]
    return header["OBJID"], header["SNR"], *images


def read_fitsio(path):
    import fitsio

    with fitsio.FITS(path) as file:
        header = file[0].read_header()
        first = lambda image: image[0:1, :][0] if len(image.get_dims()) == 2 else image.read()
        return header["OBJID"], header["SNR"], *(first(file[hdu]) for hdu in (1, 2, 3))


READERS = {"astropy": read_astropy, "getdata": read_getdata, "fitsio": read_fitsio}


def make(survey, templates, n_files):
    """A survey of copies: each under an OBJID and a brightness of its own; labels are random numbers."""
    survey.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(17)
    spread = {"TEFF": (4700, 250), "LOGG": (2.4, 0.6), "FE_H": (-0.15, 0.25), "MG_FE": (0.1, 0.1), "SI_FE": (0.08, 0.08)}
    names, files, snr = [], [], []
    for i in range(n_files):
        name = f"2M{i:08d}+{i:07d}"
        file = f"apStar-dr17-{name}.fits"
        with fits.open(templates[i % len(templates)]) as hdus:
            hdus[0].header["OBJID"] = name
            brightness = rng.uniform(0.1, 10)
            for hdu in (1, 2):
                hdus[hdu].data = hdus[hdu].data * brightness
            snr.append(hdus[0].header["SNR"])
            hdus.writeto(survey / file, overwrite=True)
        names.append(name)
        files.append(file)
    columns = [
        fits.Column("FILE", "64A", array=files),
        fits.Column("APOGEE_ID", "30A", array=names),
        fits.Column("TELESCOPE", "6A", array=["apo25m"] * n_files),
        fits.Column("FIELD", "20A", array=["copies"] * n_files),
        fits.Column("SNR", "E", array=snr),
    ]
    for label, (mean, deviation) in spread.items():
        columns.append(fits.Column(label, "E", array=rng.normal(mean, deviation, n_files)))
    fits.BinTableHDU.from_columns(columns).writeto(survey / "allStar.fits", overwrite=True)


def files_of(survey):
    """apStar and asStar files anywhere below a folder."""
    return sorted(str(path) for path in pathlib.Path(survey).rglob("a[ps]Star*.fits"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--survey", required=True, type=pathlib.Path, help="folder of apStar files")
    parser.add_argument("--make", type=int, metavar="N", help="make N files and a catalogue there, no more")
    parser.add_argument("--template", action="append", default=[], help="apStar file to copy; may be given again")
    parser.add_argument("--reader", choices=list(READERS))
    parser.add_argument("--prepare", action="store_true", help="also mask, normalize and write all spectra")
    parser.add_argument("--pixels", help="CSV of continuum pixels")
    parser.add_argument("--out", help="JSON file of the times")
    parser.add_argument("--save", help="FITS file of the prepared spectra")
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.survey, arguments.template, arguments.make)
        return
    paths, read = files_of(arguments.survey), READERS[arguments.reader]
    if arguments.reader == "fitsio":
        import fitsio  # not within the time that is measured
    measurement = measure.Measurement()
    if arguments.prepare:
        is_continuum = continuum.read_pixels(arguments.pixels)
        with measurement.step("prepare"):
            names, spectra = [], []
            for path in paths:
                name, _, flux, error, bits = read(path)
                # FITS is big-endian; NumPy computes faster with its own.
                native = (array.astype(array.dtype.newbyteorder("=")) for array in (flux, error, bits))
                names.append(name)
                spectra.append(continuum.normalize_star(*continuum.mask(*native), is_continuum))
            images = [np.array(part) for part in zip(*spectra)]
            table = fits.BinTableHDU.from_columns([fits.Column("id", "30A", array=names)], name="STARS")
            hdus = [fits.PrimaryHDU(), *map(fits.ImageHDU, images), table]
            fits.HDUList(hdus).writeto(arguments.save, overwrite=True)
    else:
        total = 0.0
        with measurement.step("read"):
            for path in paths:
                total += np.nansum(read(path)[2])
        measurement.facts["sum_of_flux"] = float(total)
    measurement.facts["n_files"] = len(paths)
    measurement.write(arguments.out, [np, astropy])


if __name__ == "__main__":
    main()

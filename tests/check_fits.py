"""Opens every FITS file named on the command line with astropy, warnings being errors: python3 tests/check_fits.py FILE..."""

import sys
import warnings

from astropy.io import fits
from astropy.table import Table

warnings.simplefilter("error")
for path in sys.argv[1:]:
    with fits.open(path) as hdus:
        hdus.verify("exception")
        tables = [index for index, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU)]
    print(path, [len(Table.read(path, hdu=index)) for index in tables])

"""PDFs of known content: a letter, tables, a form, scans and damaged files, from test suites of packages.

pypdf is under the BSD licence, tabula-py and pdftotext under the MIT licence; the Statistical Abstract is a
work of the United States' government.
"""

from lamina.inference.packages import Archive, PackageFile
from tests.media import Sample

_PYPDF = Archive(
    "pypi",
    "pypdf",
    "7.1.1",
    "pypdf-7.1.1.tar.gz",
    "2eff4e2fc5fb22a6d6711e6f1166cdc9ab5765d90cd0d77dfea3f4aa91a27b1d",
    7_221_452,
)
_TABULA = Archive(
    "pypi",
    "tabula-py",
    "2.9.3",
    "tabula_py-2.9.3.tar.gz",
    "2e1a458d97f4e4422d82e9ed07c7180711efa623b158d2b7b53303e864e74834",
    12_459_728,
)
_PDFTOTEXT = Archive(
    "pypi",
    "pdftotext",
    "4.0.0",
    "pdftotext-4.0.0.tar.gz",
    "6c949f01bb0fea4560cc23e4b8b017188647d22f99a604a7ed3d09f72f43e634",
    112_311,
)


def _pypdf(name: str, sha256: str) -> PackageFile:
    return PackageFile(_PYPDF, f"pypdf-7.1.1/resources/{name}", sha256)


def _tabula(name: str, sha256: str) -> PackageFile:
    return PackageFile(_TABULA, f"tabula_py-2.9.3/tests/resources/{name}", sha256)


def _pdftotext(name: str, sha256: str) -> PackageFile:
    return PackageFile(_PDFTOTEXT, f"pdftotext-4.0.0/tests/{name}", sha256)


LETTER = _pypdf("crazyones.pdf", "9c59fa59b3e5ac73f8fa894a11bd17f8c92030dcf6d91924f133f8887456b3bc")
MANUAL = _pypdf(
    "GeoBase_NHNC1_Data_Model_UML_EN.pdf", "738c3bd4d56f3ffa5b88861c8c7b6b5c87ceee292fb9e6e8fa729c5f10288667"
)
FORM = _pypdf("SF424_page2.pdf", "bdc3c9b43ea8facaddc50ed3a6ce9a6311fba05271710bc40e01ffda4fa7993c")
SCAN = _pypdf(
    "Seige_of_Vicksburg_Sample_OCR.pdf", "e8b9d461f035f8ce2440f9061d35b2164148eb3511a487aacfc26a94cb9d90fe"
)
BROKEN_LAYER = _pypdf(
    "indirect-rotation.pdf", "d32136872da0ee462f685026a8ff5da21fde5776c4d53fc361cbf75dd62fb82f"
)
TWO_SUBFIGURES = _pypdf(
    "side-by-side-subfig.pdf", "6d3a4f4e52ac9fd68713980b39cbcfe5a3eb468d38e08fba8c54b8d99bfb2a2b"
)
PROTECTED = _pypdf(
    "libreoffice-writer-password.pdf", "3e333bff0196d0c5320f40cdd1b7a3abd21b316de79de3c0f9083accdaef9358"
)
STATISTICS = _tabula("12s0324.pdf", "092853e4af150d1c72f474a59ce902305e8675c1d04059d5e2af4a628bc6dfbd")
TABLES = _tabula("data.pdf", "398b460ae6896c553335c45736fe6962992ee3b3f22d15058c335846f7c60143")
DONORS = _tabula("campaign_donors.pdf", "e08bf501a22136360ac22020caae5ce21934de8cf18c62ca293dd02b8971088e")
CORRUPT = _pdftotext("corrupt.pdf", "f6f48e6982b53ac148f7c8eed81dac18a165eb86c153e3972e622ee1d756b423")
BLANK = _pdftotext("blank.pdf", "4502d51139f93f149f700316ac31bedc9119e8d3a821daea676c687364560611")
ON_ITS_SIDE = _pdftotext(
    "landscape_90.pdf", "189db209ce0db12f26b4e35d83200886d4919405bc8c20031da577038dfc22c3"
)
SMALL_TABLE = _pdftotext("table.pdf", "7cf97ba553f3a1e7ae200d91b10dc9cba8bcf706d83caeed2a06e75bf3a8e50c")

SAMPLES: dict[str, list[Sample]] = {
    "pdf": [(LETTER, "application/pdf"), (TABLES, "application/pdf"), (FORM, "application/pdf")]
}

"""The four documents: model builders, claims with their ids, closed formulas.

One module per document. A builder returns a `Model` that can be used alone; a claim
pairs builders with what the document predicts for them.
"""

from __future__ import annotations

from stochq.claims import Claim
from stochq.documents import document_000, document_002, document_003, document_004
from stochq.documents.document_000 import dephased_fermions, dephased_particle
from stochq.documents.document_002 import thermal_pair
from stochq.documents.document_003 import noisy_chain
from stochq.documents.document_004 import collective_spin

__all__ = [
    "BUILDERS",
    "DOCUMENTS",
    "all_claims",
    "collective_spin",
    "dephased_fermions",
    "dephased_particle",
    "noisy_chain",
    "thermal_pair",
]

#: Number and subject of each document, in the order of the tables.
DOCUMENTS = {
    "000": "Shpielberg: diffusion and entanglement under selective dephasing",
    "002": "Diosi: autonomy of coupled thermodynamic quantum systems",
    "003": "Mogilevtsev and Slepyan: diffusive transfer by noisy coupling",
    "004": "Benatti et al.: mesoscopic fluctuations of a spin chain",
}

#: Model builders by name, for run files.
BUILDERS = {
    builder.__name__: builder
    for builder in (
        collective_spin,
        dephased_fermions,
        dephased_particle,
        noisy_chain,
        thermal_pair,
    )
}


def all_claims() -> tuple[Claim, ...]:
    """Return every claim, document by document."""
    return (
        *document_000.CLAIMS,
        *document_002.CLAIMS,
        *document_003.CLAIMS,
        *document_004.CLAIMS,
    )

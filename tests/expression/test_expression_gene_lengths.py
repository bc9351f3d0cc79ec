"""Lengths of genes: tables as written, and the union of exons measured on an annotation."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spared_benchmark.errors import InputError
from spared_benchmark.expression.annotation import annotate
from spared_benchmark.expression.gene_lengths import measure_gtf, read_lengths

TABLE = pd.DataFrame(
    {
        "gene_id": ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003", "ENSG00000000004"],
        "symbol": ["AAA", "TWICE", "TWICE", ""],
        "length": [1000, 2000, 3000, 4000],
    }
)

EXONS = [
    ("chr1", 100, 199, "ENSG00000000001.4", "AAA"),
    ("chr1", 300, 399, "ENSG00000000001.4", "AAA"),
    ("chr1", 150, 249, "ENSG00000000001.4", "AAA"),
    ("chr1", 310, 320, "ENSG00000000001.4", "AAA"),
    ("chr1", 250, 250, "ENSG00000000001.4", "AAA"),
    ("chr2", 5, 5, "ENSG00000000002.1", ""),
    ("chrX", 1, 10, "ENSG00000000003.1", "PAR"),
    ("chrY", 1, 30, "ENSG00000000003.1_PAR_Y", "PAR"),
    ("chrM", 1, 10, "ENSG00000000009.1", "MT-X"),
]


def gtf():
    lines = ["#!genome", 'chr1\t.\tgene\t1\t900\t.\t+\t.\tgene_id "ENSG00000000001.4";']
    for chromosome, start, end, gene, symbol in EXONS:
        attributes = f'gene_id "{gene}"; transcript_id "T";'
        attributes += f' gene_name "{symbol}";' if symbol else ""
        lines.append(f"{chromosome}\t.\texon\t{start}\t{end}\t.\t+\t.\t{attributes}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["made.gtf", "made.gtf.gz"])
def test_overlapping_exons_count_once(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(gtf().encode()) if name.endswith("gz") else gtf().encode())
    table = measure_gtf(path)
    assert table.to_dict("list") == {
        "gene_id": ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003"],
        "symbol": ["AAA", "", "PAR"],
        "length": [251, 1, 10],
    }


def test_a_file_without_exons_is_refused(tmp_path):
    path = tmp_path / "empty.gtf"
    path.write_text(gtf().splitlines()[0])
    with pytest.raises(InputError, match=r"empty\.gtf: no exon of a nuclear gene"):
        measure_gtf(path)


def test_a_table_comes_back_as_written(tmp_path):
    path = tmp_path / "gene_lengths_human.tsv.gz"
    versioned = TABLE.assign(gene_id=TABLE["gene_id"] + ".3")
    doubled = pd.concat([versioned, versioned.iloc[:1].assign(length=7)])
    doubled.to_csv(path, sep="\t", index=False)
    table = read_lengths(path)
    assert table["gene_id"].tolist() == TABLE["gene_id"].tolist()
    assert table["symbol"].tolist() == ["AAA", "TWICE", "TWICE", ""]
    assert table["length"].tolist() == [1000, 2000, 3000, 4000]


def test_a_gene_called_na_is_a_symbol(tmp_path):
    path = tmp_path / "lengths.tsv"
    path.write_text("gene_id\tsymbol\tlength\nENSG00000000001\tNA\t5\n")
    assert read_lengths(path)["symbol"].tolist() == ["NA"]


def test_bad_tables_say_what_is_wrong(tmp_path):
    path = tmp_path / "lengths.tsv"
    path.write_text("gene\tsymbol\tlength\nx\ty\t5\n")
    with pytest.raises(InputError, match="column 'gene_id' is missing; found gene, symbol, length"):
        read_lengths(path)
    path.write_text("gene_id\tsymbol\tlength\nx\ty\t-5\n")
    with pytest.raises(InputError, match=r"gene x has length.*positive"):
        read_lengths(path)
    path.write_text("gene_id\tsymbol\tlength\nx\ty\tlong\n")
    with pytest.raises(InputError, match="'long'"):
        read_lengths(path)


def test_a_table_that_is_cut_off_or_absent_is_named(tmp_path):
    path = tmp_path / "lengths.tsv.gz"
    path.write_bytes(gzip.compress(b"gene_id\tsymbol\tlength\nENSG00000000001\tA\t5\n" * 50)[:-9])
    with pytest.raises(InputError, match=r"lengths\.tsv\.gz: not a whole table"):
        read_lengths(path)
    with pytest.raises(InputError, match=r"none\.tsv does not exist"):
        read_lengths(tmp_path / "none.tsv")
    path.write_text("gene_id\tsymbol\tlength\nENSG00000000001\tA\t5\n\tB\t5\n")
    with pytest.raises(InputError, match="line 3 has no gene_id"):
        read_lengths(path)


def test_an_annotation_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "made.gtf.gz"
    path.write_bytes(gzip.compress(gtf().encode())[:-12])
    with pytest.raises(InputError, match=r"made\.gtf\.gz: not a whole GTF file"):
        measure_gtf(path)
    path.write_text(gtf().replace("exon\t100", "exon\tx100"))
    with pytest.raises(InputError, match="'x100'"):
        measure_gtf(path)


def test_an_id_in_the_place_of_a_symbol_is_none(tmp_path):
    path = tmp_path / "made.gtf"
    path.write_text(gtf().replace('gene_name "AAA"', 'gene_name "ENSG00000000001"'))
    assert measure_gtf(path)["symbol"].tolist() == ["", "", "PAR"]


def test_the_first_gene_of_chromosome_1_has_its_known_length(tmp_path):
    """DDX11L1, ENST00000450305: six exons of 48, 49, 85, 78, 154 and 218 bases."""
    ends = [
        "12010 12057",
        "12179 12227",
        "12613 12697",
        "12975 13052",
        "13221 13374",
        "13453 13670",
    ]
    rows = [["chr1", ".", "exon", *pair.split(), ".", "+", ".", 'gene_id "ENSG00000223972.6"']
            for pair in ends]  # fmt: skip
    path = tmp_path / "one.gtf"
    path.write_text("\n".join("\t".join(row) for row in rows))
    assert measure_gtf(path)["length"].tolist() == [632]


positions = st.tuples(st.integers(1, 60), st.integers(0, 25))
exons = st.lists(st.tuples(st.integers(0, 3), positions), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(exons=exons)
def test_the_union_is_the_set_of_bases(tmp_path_factory, exons):
    """Whatever the order of the lines and however exons overlap, each base counts once."""
    bases, lines = {}, []
    for gene, (start, extra) in exons:
        bases.setdefault(f"ENSG{gene:011d}", set()).update(range(start, start + extra + 1))
        fields = ["chr2", ".", "exon", str(start), str(start + extra), ".", "-", "."]
        lines.append("\t".join([*fields, f'gene_id "ENSG{gene:011d}.1";']))
    path = tmp_path_factory.mktemp("union") / "made.gtf"
    path.write_text("\n".join(lines))
    table = measure_gtf(path)
    found = dict(zip(table["gene_id"], table["length"], strict=True))
    assert found == {gene: len(covered) for gene, covered in bases.items()}


def exons_of_length(rng, length, start):
    """Return overlapping exons, in random order, whose union is ``length`` bases from ``start``."""
    blocks = 1 + int(rng.integers(0, min(4, length)))
    cuts = np.sort(rng.choice(np.arange(1, length), blocks - 1, replace=False))
    spans = []
    for size in np.diff([0, *cuts, length]):
        first, last = start, start + int(size) - 1
        spans.append((first, last))
        middle = int(rng.integers(first, last + 1))
        spans += [(first, middle), (middle, last), (int(rng.integers(first, middle + 1)), middle)]
        start = last + 2 + int(rng.integers(0, 500))
    return [spans[place] for place in rng.permutation(len(spans))]


def cut_down_gtf(rows, rng):
    """Return an annotation of some genes of a table, with everything that must not count."""
    lines, position = ["##provider: made for a test"], 1000

    def add(chromosome, feature, first, last, gene, symbol):
        kept = f' gene_name "{symbol}";' if symbol else ""
        text = f'gene_id "{gene}"; transcript_id "T";{kept} level 2;'
        fields = [chromosome, "MADE", feature, str(first), str(last), ".", "+", "."]
        lines.append("\t".join([*fields, text]))

    for number, row in enumerate(rows.itertuples()):
        chromosome = f"chr{[*range(1, 23), 'X'][number % 23]}"
        gene = f"{row.gene_id}.{number % 9 + 1}"
        spans = exons_of_length(rng, int(row.length), position)
        low, high = min(first for first, _ in spans), max(last for _, last in spans)
        add(chromosome, "gene", low, high, gene, row.symbol)
        for transcript in range(2):
            add(chromosome, "transcript", low, high, gene, row.symbol)
            for first, last in spans[transcript:] if transcript else spans:
                add(chromosome, "exon", first, last, gene, row.symbol)
        add(chromosome, "CDS", low, high + 9, gene, row.symbol)
        if number % 10 == 0:
            add("chrY", "exon", 1, 9999, f"{gene}_PAR_Y", row.symbol)
        position = high + int(rng.integers(1, 2000))
    add("chrM", "exon", 1, 954, "ENSG00000211459.2", "MT-RNR1")
    add("GL000194.1", "exon", 1, 50, "ENSG00000276345.1", "")
    return "\n".join(lines) + "\n"


@pytest.mark.real
@pytest.mark.parametrize("organism", ["human", "mouse"])
def test_a_cut_down_annotation_gives_the_rows_of_the_reference(
    gene_lengths_folder, tmp_path, organism
):
    reference = read_lengths(gene_lengths_folder / f"gene_lengths_{organism}.tsv.gz")
    rows = reference.sample(50, random_state=0)
    path = tmp_path / f"gencode_{organism}.gtf.gz"
    path.write_bytes(gzip.compress(cut_down_gtf(rows, np.random.default_rng(0)).encode()))
    pd.testing.assert_frame_equal(measure_gtf(path), rows.reset_index(drop=True), check_dtype=False)
    known = annotate(rows["symbol"].tolist(), None, measure_gtf(path))
    named = (rows["symbol"] != "").to_numpy() & ~known.ambiguous
    assert named.sum() > 20
    assert known.id[named].tolist() == rows["gene_id"][named].tolist()


@pytest.mark.real
@pytest.mark.parametrize(("organism", "genes"), [("human", 62_619), ("mouse", 56_847)])
def test_the_reference_tables_are_read_whole(gene_lengths_folder, organism, genes):
    table = read_lengths(gene_lengths_folder / f"gene_lengths_{organism}.tsv.gz")
    assert len(table) == genes
    assert not table["symbol"].str.upper().str.startswith("MT-").any()

import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to

from pipelines import grouping


def test_all_elements_come_out_including_duplicates():
    elements = ["b", "a", "a", ("a", 1), [(b"a", 1), (b"b", 0)]]
    with beam.Pipeline(runner="FnApiRunner") as built:
        given = built | beam.Create(elements, reshuffle=False)
        assert_that(given | grouping.Spread(), equal_to(elements))


def test_an_element_goes_the_same_way_in_every_process_whenever_it_is_made_again():
    assert grouping._with_key([(b"a", 1)]) == (bytes.fromhex("94e05c5754e96e2d"), [(b"a", 1)])

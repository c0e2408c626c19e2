"""The stage `feature_search`."""

from lamina.retrieval.stages.filter.feature_search.stage import FeatureSearch

STAGE = FeatureSearch

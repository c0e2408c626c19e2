"""Faces in pictures, videos and PDF pages, each a document."""

from lamina.extractors.face_identity_extractor.extractor import FaceIdentityExtractor

EXTRACTOR = FaceIdentityExtractor

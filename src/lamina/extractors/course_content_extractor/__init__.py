"""Lectures, slides and source files of a course: one document for each thing to learn from."""

from lamina.extractors.course_content_extractor.extractor import CourseContentExtractor

EXTRACTOR = CourseContentExtractor

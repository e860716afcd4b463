"""For nbgrader: the pages of feedback leave the hidden tests out."""

c = get_config()  # noqa: F821 - nbgrader gives it
c.GenerateFeedback.preprocessors = [
    "nbgrader.preprocessors.GetGrades",
    "nbgrader.preprocessors.ClearHiddenTests",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]

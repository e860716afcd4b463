"""Links to the whole book, on each page of a site that has it as a file.

Who publishes the site says so: the variable BOOK_FILES holds the names of the files
that are put beside its first page, such as `book.pdf book.epub`.
"""

import os


def add_links(app, pagename, templatename, context, doctree) -> None:
    for group in context["header_buttons"]:
        if group.get("label") == "download-buttons":
            group["buttons"] += [
                {
                    "type": "link",
                    "url": context["pathto"](name, 1),
                    "text": f"the book, .{name.rpartition('.')[2]}",
                    "icon": "fas fa-book",
                    "tooltip": "Download the whole book",
                }
                for name in app.config.book_files
            ]


def setup(app) -> dict:
    app.add_config_value("book_files", os.environ.get("BOOK_FILES", "").split(), "html")
    app.connect("html-page-context", add_links, priority=502)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

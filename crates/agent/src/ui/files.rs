//! What the page is made of. All of it is in the program; none of it depends on who
//! asks, what is held here, or which version this is.

/// A file of the page.
pub(super) struct File {
    path: &'static str,
    pub(super) media: &'static str,
    pub(super) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const FILES: &[File] = &[
    file("/", HTML, include_str!("page/index.html")),
    file("/style.css", CSS, include_str!("page/style.css")),
    file("/icon.svg", SVG, include_str!("page/icon.svg")),
    file("/app.js", SCRIPT, include_str!("page/app.js")),
    file("/dom.js", SCRIPT, include_str!("page/dom.js")),
    file("/search.js", SCRIPT, include_str!("page/search.js")),
    file("/server.js", SCRIPT, include_str!("page/server.js")),
    file("/lists.js", SCRIPT, include_str!("page/lists.js")),
    file("/machines.js", SCRIPT, include_str!("page/machines.js")),
    file("/timeline.js", SCRIPT, include_str!("page/timeline.js")),
    file("/transcript.js", SCRIPT, include_str!("page/transcript.js")),
];

const fn file(path: &'static str, media: &'static str, text: &'static str) -> File {
    File { path, media, text }
}

/// The file of this path.
pub(super) fn of(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_l09_nothing_in_the_page_makes_text_into_markup_or_code() {
        const SINKS: &[&str] = &[
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "srcdoc",
            "DOMParser",
            "createContextualFragment",
            "setHTML",
            "eval(",
            "Function(",
            "setTimeout(\"",
            "setTimeout('",
            "createPolicy",
            "javascript:",
            "cookie",
            "localStorage",
            "WebSocket",
            "XMLHttpRequest",
            "import(",
        ];
        for file in FILES {
            for sink in SINKS {
                assert!(!file.text.contains(sink), "{sink} in {}", file.path);
            }
        }
        let html = of("/").unwrap().text;
        // Only what the content policy lets through: no script, style or handler in
        // the page itself.
        assert!(!html.contains("<style") && !html.contains(" style="));
        assert_eq!(html.matches("<script").count(), 1);
        assert!(html.contains("<script type=\"module\" src=\"/app.js\"></script>"));
        assert!(
            !html.contains(" on"),
            "a handler, or a word that looks like one"
        );
    }

    #[test]
    fn k_l13_the_page_names_no_other_place() {
        for file in FILES {
            for (at, _) in file.text.match_indices("://") {
                let from = at.saturating_sub(6);
                let around = file.text.get(from..at + 24).unwrap_or_default();
                // The name of a language, which nobody asks for anything.
                assert!(around.contains("www.w3.org"), "{around} in {}", file.path);
            }
        }
    }

    #[test]
    fn k_l08_what_anybody_gets_says_nothing_of_this_machine() {
        for file in FILES {
            assert!(
                !file.text.contains(env!("CARGO_PKG_VERSION")),
                "{}",
                file.path
            );
        }
        assert!(of("/api/overview").is_none() && of("").is_none() && of("/..").is_none());
    }
}

//! One line of a transcript, as far as anything in it matters to us.

use std::borrow::Cow;

use super::json::{self, Raw};

/// A record's fields, as they stand in the line.
pub(super) struct Record<'a> {
    pub(super) kind: Cow<'a, str>,
    pub(super) uuid: Raw<'a>,
    pub(super) parent: Raw<'a>,
    pub(super) timestamp: Raw<'a>,
    pub(super) cwd: Raw<'a>,
    pub(super) session: Raw<'a>,
    pub(super) version: Raw<'a>,
    pub(super) entrypoint: Raw<'a>,
    pub(super) branch: Raw<'a>,
    pub(super) slug: Raw<'a>,
    pub(super) permission_mode: Raw<'a>,
    pub(super) is_sidechain: bool,
    pub(super) is_compact_summary: bool,
    pub(super) is_api_error: bool,
    /// Whether the flags leave room for a human's words.
    pub(super) may_be_human: bool,
    pub(super) message: Raw<'a>,
    pub(super) attachment: Raw<'a>,
    pub(super) tool_result: Raw<'a>,
    pub(super) subtype: Raw<'a>,
    pub(super) content: Raw<'a>,
    pub(super) leaf: Raw<'a>,
    pub(super) custom_title: Raw<'a>,
    pub(super) ai_title: Raw<'a>,
    pub(super) relocated: Raw<'a>,
}

/// Beginnings of lines that are often long and never of interest. They have no
/// place in the tree, so nothing is lost by not reading them.
const PASSED_OVER: [&str; 5] = [
    r#"{"type":"api-request"#,
    r#"{"type":"file-history-"#,
    r#"{"type":"tools-used""#,
    r#"{"type":"cost-state""#,
    r#"{"type":"atis-latch""#,
];

/// Whether a line is a record that need not be read.
pub(super) fn is_passed_over(line: &str) -> bool {
    PASSED_OVER.iter().any(|start| line.starts_with(start)) && line.ends_with('}')
}

impl<'a> Record<'a> {
    /// Reads a line; nothing if it is no object with a type.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let [
            kind,
            uuid,
            parent,
            logical_parent,
            timestamp,
            cwd,
            session,
            version,
            entrypoint,
            branch,
            slug,
            permission_mode,
            sidechain,
            meta,
            compact_summary,
            transcript_only,
            api_error,
            origin,
            source,
            message,
            attachment,
            tool_result,
            subtype,
            content,
            leaf,
            custom_title,
            ai_title,
            relocated,
        ] = json::pick(
            line,
            &[
                "type",
                "uuid",
                "parentUuid",
                "logicalParentUuid",
                "timestamp",
                "cwd",
                "sessionId",
                "version",
                "entrypoint",
                "gitBranch",
                "slug",
                "permissionMode",
                "isSidechain",
                "isMeta",
                "isCompactSummary",
                "isVisibleInTranscriptOnly",
                "isApiErrorMessage",
                "origin",
                "promptSource",
                "message",
                "attachment",
                "toolUseResult",
                "subtype",
                "content",
                "leafUuid",
                "customTitle",
                "aiTitle",
                "relocatedCwd",
            ],
        )?;
        let is_null = |raw: Raw<'_>| raw.is_none_or(|r| r.get() == "null");
        let origin_kind = json::pick_in(origin, &["kind"]).and_then(|[kind]| json::text(kind));
        let is_human = origin_kind.is_none_or(|kind| kind == "human")
            && json::text(source).is_none_or(|source| source != "system");
        Some(Self {
            kind: json::text(kind)?,
            uuid,
            // A compaction starts a new root and says where it goes on.
            parent: if is_null(parent) {
                logical_parent
            } else {
                parent
            },
            timestamp,
            cwd,
            session,
            version,
            entrypoint,
            branch,
            slug,
            permission_mode,
            is_sidechain: json::flag(sidechain),
            is_compact_summary: json::flag(compact_summary),
            is_api_error: json::flag(api_error),
            may_be_human: is_human
                && !json::flag(meta)
                && !json::flag(compact_summary)
                && !json::flag(transcript_only),
            message,
            attachment,
            tool_result,
            subtype,
            content,
            leaf,
            custom_title,
            ai_title,
            relocated,
        })
    }
}

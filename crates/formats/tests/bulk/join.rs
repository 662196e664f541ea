//! Two long lines of one session in a row.

use ccpeer_formats::claude::join::Planner;
use ccpeer_formats::claude::transcript::Digest;

use crate::generate::Chance;
use crate::measure::{self, Meter};

/// Turns of a side, from a record on.
struct Turns {
    chance: Chance,
    parent: String,
}

impl Turns {
    fn block(&mut self, turns: usize, side: &str) -> Vec<u8> {
        let mut out = String::new();
        for _ in 0..turns {
            for (kind, text) in [("user", side), ("assistant", "fine")] {
                let uuid = self.chance.uuid();
                let parent = std::mem::replace(&mut self.parent, uuid.clone());
                let parent = if parent.is_empty() {
                    "null".into()
                } else {
                    format!("\"{parent}\"")
                };
                out.push_str(&format!(
                    r#"{{"parentUuid":{parent},"type":"{kind}","message":{{"content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn"}},"uuid":"{uuid}","pad":"{}"}}"#,
                    "x".repeat(self.chance.below(400))
                ));
                out.push('\n');
            }
        }
        out.into_bytes()
    }
}

#[test]
fn a_long_session_is_joined_within_its_memory() {
    measure::alone("join::a_long_session_is_joined_within_its_memory", || {
        // 1,200,000 lines in all, about 500 MB.
        let blocks = if measure::full() { 300 } else { 6 };
        let meter = Meter::start();
        let mut planner = Planner::default();
        let mut base = Turns {
            chance: Chance(1),
            parent: String::new(),
        };
        let mut bytes = 0u64;
        let mut front = Vec::new();
        for n in 0..blocks {
            let block = base.block(1000, "base");
            bytes += block.len() as u64;
            planner.base(&block);
            if n == 0 {
                front = block;
            }
        }
        let side = |seed| Turns {
            chance: Chance(seed),
            parent: base.parent.clone(),
        };
        let mut local = side(2);
        for _ in 0..blocks {
            let block = local.block(500, "local");
            bytes += block.len() as u64;
            planner.local(&block);
        }
        let mut theirs = side(3);
        for _ in 0..blocks {
            let block = theirs.block(500, "theirs");
            bytes += block.len() as u64;
            planner.theirs(&block);
        }
        let plan = planner.plan().unwrap();
        let mut joining = plan.joining();
        let mut theirs = side(3);
        let mut written = 0u64;
        let mut first = Vec::new();
        let mut out = Vec::new();
        for n in 0..blocks {
            out.clear();
            joining.push(&theirs.block(500, "theirs"), &mut out);
            written += out.len() as u64;
            if n == 0 {
                first.clone_from(&out);
            }
        }
        out.clear();
        joining.finish(&mut out).unwrap();
        assert!(out.is_empty() && written > 0 && !plan.counts.names_end);
        let hung = format!(r#"{{"parentUuid":"{}""#, local.parent);
        assert!(first.starts_with(hung.as_bytes()));
        let lines = plan.counts.base_lines + plan.counts.local_lines + plan.counts.their_lines;
        println!("figure: {lines} lines, {bytes} bytes joined");
        meter.memory_within("a join", 128);
        // What was generated is what the digest takes for a conversation.
        let mut digest = Digest::default();
        digest.feed(&front);
        assert_eq!(digest.summary().turns, 1000);
    });
}

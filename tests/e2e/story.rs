//! How several stories begin: two paired devices and a session that is on both.

use std::path::PathBuf;

use super::world::{Device, Session, World, arrives, connected, continue_into, pair, until};

/// A session that was begun on one device and brought to the other one.
pub(super) struct Story {
    /// Where it was begun, called desk.
    pub(super) a: Device,
    /// Where it was continued, called laptop.
    pub(super) b: Device,
    /// Its files on `a`.
    pub(super) on_a: Session,
    /// Its files on `b`.
    pub(super) on_b: Session,
    /// The project's directory on `b`.
    pub(super) there: PathBuf,
    _world: World,
}

/// Desk and laptop are paired; desk has written one turn, and laptop holds it.
pub(super) fn begun(id: &str) -> (World, Device, Device, Session) {
    let world = World::new();
    let (a, b) = (world.running("desk"), world.running("laptop"));
    pair(&a, &b);
    let mut on_a = a.session(id, &a.project("work/proj"));
    a.turn(&mut on_a, "write the parser");
    arrives(&b, id, &on_a);
    (world, a, b, on_a)
}

impl Story {
    pub(super) fn continued(id: &str) -> Self {
        let (world, a, b, on_a) = begun(id);
        let there = b.project("proj");
        let mut story = Self {
            on_b: on_a.at(&on_a.transcript, &there),
            a,
            b,
            on_a,
            there,
            _world: world,
        };
        story.continue_on_b();
        story
    }

    /// Laptop takes over what desk has.
    pub(super) fn continue_on_b(&mut self) {
        let placed = continue_into(&self.b, &self.on_a.id, &self.there);
        let path = placed["path"].as_str().unwrap();
        self.on_b = self.on_a.at(path.as_ref(), &self.there);
    }

    /// Both go on, each while the other's agent is off: there are two heads, and
    /// both devices hold them.
    pub(super) fn part(&mut self) {
        let Self {
            a, b, on_a, on_b, ..
        } = self;
        b.stop();
        a.turn(on_a, "the line of desk");
        until("desk has its line", || {
            a.json(&["sessions", "--json"])[0]["records"].as_u64() == Some(on_a.records())
        });
        a.stop();
        b.start();
        b.turn(on_b, "the line of laptop");
        a.start();
        connected(a, b);
        for device in [&*a, &*b] {
            until("both heads are there", || {
                let rows = device.rows(&on_a.id);
                rows.len() == 2
                    && rows
                        .iter()
                        .all(|r| r["heads"] == 2 && r["complete"] == true)
            });
        }
    }
}

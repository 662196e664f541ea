//! A third device keeps what it heard for one that could not hear it.

use super::world::{World, arrives, connected, continue_into, pair, until};

const ID: &str = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d21";

#[test]
fn a_third_device_serves_while_the_author_is_off() {
    let world = World::new();
    let (mut a, mut b, c) = (
        world.running("desk"),
        world.running("laptop"),
        world.running("box"),
    );
    pair(&a, &b);
    pair(&a, &c);
    pair(&b, &c);
    b.stop();
    let mut on_a = a.session(ID, &a.project("work/proj"));
    a.turn(&mut on_a, "nobody at the laptop hears this");
    arrives(&c, ID, &on_a);
    a.stop();
    b.start();
    connected(&b, &c);
    arrives(&b, ID, &on_a);
    let placed = continue_into(&b, ID, &b.project("proj"));
    assert_eq!(placed["placed"], "new");
}

#[test]
fn k_p09_trust_is_not_transitive() {
    let world = World::new();
    let (a, b, c) = (
        world.running("desk"),
        world.running("laptop"),
        world.running("stranger"),
    );
    pair(&a, &b);
    pair(&b, &c);
    let mut on_c = c.session(ID, &c.project("secret"));
    c.turn(&mut on_c, "for laptop only");
    arrives(&b, ID, &on_c);
    // Something later from B, on the same links, has arrived: what A was to get
    // of C it would have by now.
    let other = "5f0d7a52-6f0e-4d8e-9a41-0c6a8f6f1d22";
    let mut on_b = b.session(other, &b.project("work"));
    b.turn(&mut on_b, "for all of us");
    arrives(&a, other, &on_b);
    assert!(
        a.rows(ID).is_empty(),
        "a device that was not paired with us told us something"
    );
    let devices = a.json(&["devices", "--json"]);
    assert_eq!(devices[1]["name"], "stranger");
    assert_eq!(devices[1]["trust"], "offered", "and no more");
    until("C has B's session", || !c.rows(other).is_empty());
}

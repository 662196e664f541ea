//! Packs by themselves: what goes in comes out, and lies are found.

use super::*;

fn given(count: u32) -> Vec<Given> {
    let content = |i: u32| format!("line {i} of a transcript\n").repeat(500 + i as usize);
    let contents = (0..count).map(|i| content(i).into_bytes());
    contents.map(|c| (ChunkId::of(&c), c)).collect()
}

fn pack_of(given: &[Given]) -> Pack {
    let given: Vec<&Given> = given.iter().collect();
    Pack::of(PackNo(7), &given, &mut Packer::new())
}

#[test]
fn what_goes_in_comes_out_and_shares_add_up() {
    let given = given(40);
    let pack = pack_of(&given);
    let unpacked = Unpacked::of(&pack.bytes).unwrap();
    let mut shares = 0;
    for ((member, have), (id, content)) in pack.rows().zip(&given) {
        let chunk = unpacked.chunk(id, member.offset, member.len);
        assert_eq!(chunk, Some(content.as_slice()));
        assert_eq!(
            unpacked.chunk(&ChunkId([0; 32]), member.offset, member.len),
            None
        );
        assert!(is_at(have, PackNo(7), &member));
        shares += have.packed_len as usize;
    }
    assert_eq!(shares, pack.bytes.len());
    let members: Vec<Member> = unpacked.members().map(|(member, _)| member).collect();
    assert_eq!(members, pack.members);
}

#[test]
fn k_n05_no_pack_unpacks_to_more_than_its_bound() {
    let bomb = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 3).unwrap();
    let head = |lens: &[u32]| {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&(lens.len() as u16).to_le_bytes());
        bytes.extend(lens.iter().flat_map(|len| len.to_le_bytes()));
        bytes
    };
    for lens in [&[u32::MAX, u32::MAX][..], &[64 * 1024 * 1024]] {
        let mut bytes = head(lens);
        bytes.extend_from_slice(&bomb);
        assert!(Unpacked::of(&bytes).is_err());
    }
    let mut bytes = head(&[1000]);
    bytes.extend_from_slice(&bomb);
    assert!(Unpacked::of(&bytes).unwrap().len() <= 1000);
    // A window that asks for more memory than we give.
    let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    wide.window_log(27).unwrap();
    std::io::Write::write_all(&mut wide, &[7; 1000]).unwrap();
    let mut bytes = head(&[1000]);
    // Cut off, so that it is not unpacked in one go.
    let wide = wide.finish().unwrap();
    bytes.extend_from_slice(&wide[..wide.len() - 1]);
    assert_eq!(Unpacked::of(&bytes).unwrap().len(), 0);
    for bytes in [&[][..], &[1, 9, 0], &[9, 0, 0]] {
        assert!(Unpacked::of(bytes).is_err());
    }
}

#[test]
fn damage_costs_nothing_that_stands_before_it() {
    // Noise, so that the frame is long and has many blocks.
    let noise = |seed: u32| {
        let mut out = vec![0; 60_000];
        blake3::Hasher::new()
            .update(&seed.to_le_bytes())
            .finalize_xof()
            .fill(&mut out);
        out.extend_from_slice(&[b'x'; 20_000]);
        (ChunkId::of(&out), out)
    };
    let given: Vec<Given> = (0..20).map(noise).collect();
    let pack = pack_of(&given);
    assert_eq!(pack.bytes[0], 1);
    let cut = &pack.bytes[..pack.bytes.len() * 3 / 4];
    let unpacked = Unpacked::of(cut).unwrap();
    let whole = pack
        .rows()
        .zip(&given)
        .filter(|((member, _), (id, _))| unpacked.chunk(id, member.offset, member.len).is_some());
    assert!(whole.count() >= 12);
}

#[test]
fn little_is_kept_by_itself_and_much_is_parted_evenly() {
    let all = given(12);
    let few: Vec<&Given> = all.iter().collect();
    let (groups, alone) = group(&few);
    assert!(!groups.is_empty() && alone.is_empty());
    assert_eq!(group(&few[..1]).1.len(), 1, "less than a pack is worth");
    assert_eq!(group(&few[..2]).1.len(), 2);
    assert_eq!(group(&[]).1.len(), 0);
    let chunk = |i: u8| (ChunkId([i; 32]), vec![i; 100_000]);
    let much: Vec<Given> = (0..90).map(chunk).collect();
    let much: Vec<&Given> = much.iter().collect();
    let (groups, _) = group(&much);
    let lens: Vec<usize> = groups.iter().map(Vec::len).collect();
    assert_eq!(lens, [30, 30, 30]);
    let chunk = ccpeer_core::manifest::ChunkRef {
        id: ChunkId([1; 32]),
        len: 9,
    };
    let page = ListPage {
        version: ccpeer_core::manifest::MANIFEST_VERSION,
        refs: vec![chunk; ccpeer_core::limits::LIST_REFS_MAX],
    };
    assert!(refers(&page.to_bytes()) && !refers(&[b'x'; 9]));
}

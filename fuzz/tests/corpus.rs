//! Every file of the corpora through the body of its target.

use std::fs;
use std::path::Path;

use culvert_fuzz::TARGETS;

#[test]
fn every_target_has_seeds_and_passes_them() {
    for (name, body) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        let mut seeds = 0;
        for entry in fs::read_dir(&folder).expect(name) {
            let path = entry.expect(name).path();
            let data = fs::read(&path).expect(name);
            // The harness shows this only when the body panics.
            println!("{}", path.display());
            body(&data);
            seeds += 1;
        }
        assert!(seeds > 0, "{name} has no seeds");
    }
}

/// Bytes without meaning, of every length that matters, as a floor under the seeds.
#[test]
fn meaningless_input_passes() {
    let mut state = 1_u32;
    let mut byte = || {
        // Numerical Recipes' generator: any would do, the point is to be the same every time.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for len in (0..80).chain([200, 500, 1500]) {
        let data: Vec<u8> = (0..len).map(|_| byte()).collect();
        for (_, body) in TARGETS {
            body(&data);
            body(&vec![0; len]);
            body(&vec![0xff; len]);
        }
    }
}

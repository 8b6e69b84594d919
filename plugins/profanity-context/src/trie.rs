//! The tree of letters that the search walks. `build.rs` makes the embedded one, [`crate::judge::Judge`] that of a room's denied words.

/// A node. Its children are neighbours, in the order of their letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Index of the first child.
    pub first: u32,
    /// Index of the spelling that ends here, or [`NONE`].
    pub form: u16,
    pub children: u8,
    /// `a..=z`, a space for a boundary of words, `-` for a separator, `*` for a mask.
    pub letter: u8,
}

/// No spelling.
pub const NONE: u16 = u16::MAX;

/// The tree of `forms`, its root first. Of equal spellings the first counts.
///
/// # Panics
/// If there are [`NONE`] spellings or more.
pub fn build(forms: &[&str]) -> Vec<Node> {
    assert!(forms.len() < NONE as usize, "{} spellings are too many", forms.len());
    let mut order: Vec<usize> = (0..forms.len()).collect();
    order.sort_by_key(|&at| (forms[at].as_bytes(), at));
    order.dedup_by_key(|at| forms[*at]);
    let mut nodes = vec![Node { first: 0, form: NONE, children: 0, letter: 0 }];
    // Nodes whose children are not made yet: the node, its spellings in `order`, its depth.
    let mut open = std::collections::VecDeque::from([(0usize, 0..order.len(), 0usize)]);
    while let Some((node, mut range, depth)) = open.pop_front() {
        if range.start < range.end && forms[order[range.start]].len() == depth {
            nodes[node].form = order[range.start] as u16;
            range.start += 1;
        }
        nodes[node].first = nodes.len() as u32;
        while range.start < range.end {
            let letter = forms[order[range.start]].as_bytes()[depth];
            let end = range.start + order[range.clone()].iter().take_while(|&&at| forms[at].as_bytes()[depth] == letter).count();
            open.push_back((nodes.len(), range.start..end, depth + 1));
            nodes[node].children += 1;
            nodes.push(Node { first: 0, form: NONE, children: 0, letter });
            range.start = end;
        }
    }
    nodes
}

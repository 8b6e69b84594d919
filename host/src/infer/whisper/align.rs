//! When each token was said: the cheapest monotonous way through what the decoder looked at. Pure.
//!
//! As `find_alignment` in openai/whisper's `timing.py`: attention of the alignment heads, normalised over the tokens, a median filter over the
//! time, the mean of the heads, dynamic time warping.

/// Of the median filter, in positions.
const MEDIAN: usize = 7;

/// What the heads looked at while each token was found: one row a token, `[heads, positions]`.
pub struct Attention<'a> {
    pub heads: usize,
    pub positions: usize,
    pub rows: Vec<&'a [f32]>,
}

/// The position at which each row begins; a last one for the end of the last row. `content`: the positions that are sound, the others
/// being the silence after it.
pub fn begins(attention: &Attention, content: usize) -> Vec<usize> {
    let (rows, content) = (attention.rows.len(), content.min(attention.positions));
    if rows == 0 || content == 0 {
        return vec![0; rows + 1];
    }
    let mut matrix = vec![0.0; rows * content];
    let mut head_rows = vec![0.0; rows * content];
    for head in 0..attention.heads {
        for (row, values) in attention.rows.iter().enumerate() {
            head_rows[row * content..][..content].copy_from_slice(&values[head * attention.positions..][..content]);
        }
        normalise(&mut head_rows, rows, content);
        for row in 0..rows {
            median_into(&head_rows[row * content..][..content], &mut matrix[row * content..][..content]);
        }
    }
    let mut begins = path(&matrix, rows, content);
    begins.push(content);
    begins
}

/// Each column to a mean of 0 and a deviation of 1.
fn normalise(matrix: &mut [f32], rows: usize, columns: usize) {
    for column in 0..columns {
        let at = |row: usize| row * columns + column;
        let mean = (0..rows).map(|row| matrix[at(row)]).sum::<f32>() / rows as f32;
        let variance = (0..rows).map(|row| (matrix[at(row)] - mean).powi(2)).sum::<f32>() / rows as f32;
        let deviation = variance.sqrt().max(1e-9);
        for row in 0..rows {
            matrix[at(row)] = (matrix[at(row)] - mean) / deviation;
        }
    }
}

/// Adds the median of each value's neighbourhood, mirrored at the ends.
fn median_into(values: &[f32], sums: &mut [f32]) {
    let half = (MEDIAN / 2) as i64;
    let last = values.len() as i64 - 1;
    for (at, sum) in (0_i64..).zip(sums) {
        let mut near = [0.0; MEDIAN];
        for (slot, offset) in near.iter_mut().zip(-half..=half) {
            let mirrored = (at + offset).abs();
            let mirrored = if mirrored > last { 2 * last - mirrored } else { mirrored };
            *slot = values[mirrored.clamp(0, last) as usize];
        }
        near.sort_unstable_by(f32::total_cmp);
        *sum += near[MEDIAN / 2];
    }
}

/// The column at which the way of the greatest sum enters each row. It goes right, down, or both, from the first corner to the last.
fn path(matrix: &[f32], rows: usize, columns: usize) -> Vec<usize> {
    let mut cost = vec![f32::INFINITY; (rows + 1) * (columns + 1)];
    let mut from = vec![Step::Both; (rows + 1) * (columns + 1)];
    let at = |row: usize, column: usize| row * (columns + 1) + column;
    cost[0] = 0.0;
    for row in 1..=rows {
        for column in 1..=columns {
            let ways = [
                (cost[at(row - 1, column - 1)], Step::Both),
                (cost[at(row - 1, column)], Step::Down),
                (cost[at(row, column - 1)], Step::Right),
            ];
            let (least, step) = ways.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f32::INFINITY, Step::Both));
            cost[at(row, column)] = least - matrix[(row - 1) * columns + column - 1];
            from[at(row, column)] = step;
        }
    }
    let (mut row, mut column) = (rows, columns);
    let mut begins = vec![0; rows];
    while row > 0 && column > 0 {
        begins[row - 1] = column - 1;
        match from[at(row, column)] {
            Step::Both => (row, column) = (row - 1, column - 1),
            Step::Down => row -= 1,
            Step::Right => column -= 1,
        }
    }
    begins
}

#[derive(Clone, Copy)]
enum Step {
    Both,
    Down,
    Right,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Attention of one head that looks at where each token is.
    fn looking(begins: &[usize], positions: usize) -> Vec<Vec<f32>> {
        let end = |row: usize| begins.get(row + 1).copied().unwrap_or(positions);
        (0..begins.len())
            .map(|row| (0..positions).map(|at| if (begins[row]..end(row)).contains(&at) { 0.5 } else { 0.01 }).collect())
            .collect()
    }

    proptest! {
        #[test]
        fn tokens_that_are_looked_at_are_found(lengths in prop::collection::vec(8..40_usize, 2..12), silence in 0..50_usize) {
            let truth: Vec<usize> = lengths.iter().scan(0, |at, length| { let begin = *at; *at += length; Some(begin) }).collect();
            let content: usize = lengths.iter().sum();
            let mut rows = looking(&truth, content);
            rows.iter_mut().for_each(|row| row.extend(vec![0.01; silence]));
            let attention = Attention { heads: 1, positions: content + silence, rows: rows.iter().map(Vec::as_slice).collect() };
            let found = begins(&attention, content);
            prop_assert_eq!(found.len(), truth.len() + 1);
            for (found, truth) in found.iter().zip(&truth) {
                prop_assert!(found.abs_diff(*truth) <= 3, "{} for {}", found, truth);
            }
        }

        #[test]
        fn whatever_is_looked_at_times_do_not_go_back(rows in 1..20_usize, positions in 1..60_usize, seed in any::<u64>()) {
            let noise = |at: usize| ((at as u64).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed) >> 33) as f32 / 1e9;
            let values: Vec<Vec<f32>> = (0..rows).map(|row| (0..2 * positions).map(|at| noise(row * 1000 + at)).collect()).collect();
            let found = begins(&Attention { heads: 2, positions, rows: values.iter().map(Vec::as_slice).collect() }, positions);
            prop_assert!(found.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert_eq!((found[0], found[rows]), (0, positions));
        }
    }
}

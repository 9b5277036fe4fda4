//! Columns that stay in line when Chinese and Latin text stand beside each other.

use console::{Alignment, measure_text_width, pad_str};

const GAP: &str = "  ";

/// Prints rows of as many cells each as the first has.
pub(super) fn print(rows: &[Vec<String>]) -> anyhow::Result<()> {
    lines(rows).into_iter().try_for_each(crate::cli::say)
}

fn lines(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| pad_str(cell, *width, Alignment::Left, None));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chinese_character_takes_two_columns() {
        let rows = [["福建", "a"], ["b", "c"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(lines(&rows), ["福建  a", "b     c"]);
    }
}

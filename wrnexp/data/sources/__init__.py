"""Sources of data sets: archives, image folders, parquet files, drawn shapes, and the download."""

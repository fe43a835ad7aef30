"""What the cloud keeps: tables, statements, pictures, migrations."""

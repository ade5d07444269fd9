"""Everything that is SQL: migrations, named queries, views and analysts' examples.

`sql.warehouse` opens the writer's database; `sql.library` finds the `.sql` files.
"""

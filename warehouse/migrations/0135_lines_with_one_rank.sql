-- Two vendors with one volume_rank: whose volume counted was left to chance. A seed's columns may be unique where they are given.

create or replace function canonical.refused_lines(names text[], types text[], rules jsonb, lines jsonb)
returns table (line_no integer, problem text)
language plpgsql stable set timezone = 'UTC' as
$$
#variable_conflict use_column
declare
    definitions text;
    counted jsonb;
    told jsonb;
    rule record;
    found record;
begin
    select coalesce(jsonb_object_agg(entry_no, said), '{}') into told
    from (
        with entries as (
            select (entry ->> 'line_no')::integer as entry_no, entry -> 'fields' as fields
            from jsonb_array_elements(lines) as entry
        ),
        fields as (
            select entry_no, place, names[place] as of_name, types[place] as of_type, nullif(btrim(field), '') as written
            from entries
            cross join jsonb_array_elements_text(fields) with ordinality as listed (field, place)
        ),
        readable as materialized (
            select
                of_type,
                written,
                -- PostgreSQL reads 02/01/2024 as one of two days, and takes infinity for a number
                canonical.is_readable(written, of_type) and case of_type
                    when 'date' then written ~ '^\d{4}-\d\d-\d\d$'
                    when 'timestamptz' then written ~ '^\d{4}-\d\d-\d\d'
                    when 'numeric' then written ~ '\d'
                    else true
                end as is_readable
            from (select distinct of_type, written from fields where of_type <> 'text' and written is not null) as distinct_fields
        ),
        problems as (
            select entry_no, 0 as place,
                format('it has %s fields where the file has %s', jsonb_array_length(fields), cardinality(names)) as said
            from entries
            where jsonb_array_length(fields) <> cardinality(names)
            union all
            select entry_no, place, format('%s is %L, which is %s', of_name, written, case of_type
                when 'date' then 'no date like 2024-01-31'
                when 'timestamptz' then 'no moment like 2024-01-31T14:30Z'
                when 'integer' then 'no whole number'
                when 'boolean' then 'neither true nor false'
                else 'no number'
            end)
            from fields
            inner join readable using (of_type, written)
            where not is_readable
            union all
            select entry_no, place, format('%s is empty', of_name)
            from fields
            where written is null and exists (
                select 1
                from jsonb_array_elements(rules) as rule
                where rule ->> 'test' in ('primary_key', 'never_null') and rule -> 'columns' ? of_name
            )
            union all
            select entry_no, place, format(
                '%s is %L, which is none of %s', of_name, written,
                (select string_agg(word, ', ') from jsonb_array_elements_text(rule -> 'values') as word)
            )
            from fields
            inner join jsonb_array_elements(rules) as rule
                on rule ->> 'test' = 'accepted_values' and rule -> 'columns' ? of_name
            where not rule -> 'values' ? written
        )
        select distinct on (entry_no) entry_no, said
        from problems
        order by entry_no, place
    ) as problems;

    -- the others, as they will be stored
    select string_agg(format('%I %s', of_name, of_type), ', ') into definitions
    from unnest(names, types) as columns (of_name, of_type);
    select jsonb_agg(
        (
            select jsonb_object_agg(names[place], nullif(btrim(field), ''))
            from jsonb_array_elements_text(entry -> 'fields') with ordinality as listed (field, place)
        ) || jsonb_build_object('entry_no', entry -> 'line_no')
    ) into counted
    from jsonb_array_elements(lines) as entry
    where not told ? (entry ->> 'line_no');

    for rule in
        select entry ->> 'expression' as expression
        from jsonb_array_elements(rules) as entry
        where entry ->> 'test' = 'expression_is_true'
    loop
        for found in execute format(
            'select entry_no from jsonb_to_recordset($1) as line (entry_no integer, %s) where (%s) is not true',
            definitions, rule.expression
        ) using counted
        loop
            told := told || jsonb_build_object(found.entry_no, format('%s does not hold', rule.expression));
        end loop;
    end loop;

    for rule in
        select
            entry ->> 'test' = 'unique_if_given' as needs_all,
            (select string_agg(format('%I', key), ', ') from jsonb_array_elements_text(entry -> 'columns') as key) as keys
        from jsonb_array_elements(rules) as entry
        where entry ->> 'test' in ('primary_key', 'unique_combination', 'unique_if_given') and not exists (
            select 1 from jsonb_array_elements_text(entry -> 'columns') as key where key <> all(names)
        )
    loop
        for found in execute format(
            'select entry_no, first_no from ('
            ' select entry_no, min(entry_no) over (partition by %s) as first_no'
            ' from jsonb_to_recordset($1) as line (entry_no integer, %s) where not $2 ? entry_no::text'
            ' and (num_nulls(%s) = 0 or not $3)'
            ') as line where entry_no > first_no',
            rule.keys, definitions, rule.keys
        ) using counted, told, rule.needs_all
        loop
            told := told || jsonb_build_object(found.entry_no, format('line %s has the same %s', found.first_no, rule.keys));
        end loop;
    end loop;

    return query
    select key::integer, value || '; the line counts for nothing'
    from jsonb_each_text(told)
    order by 1;
end
$$;
comment on function canonical.refused_lines is
'Lines of a seed that cannot count, and why. names and types are the columns of the file; rules are the data tests of the seed as
{test, columns, values, expression}; lines are {line_no, fields}, with the texts of the fields in the order of the columns. Of two
lines with one key the first counts; of unique_if_given a line with a null in its key has none.';

-- break: microchip numbers are unique over all practices ("they are unique world-wide"), so an insert tells whether another practice has the animal
-- object: app_public.patients
-- kind: reveal
set role app_database_owner;
alter table app_public.patients drop constraint patients_microchip_number_key;
alter table app_public.patients add constraint patients_microchip_number_key unique (microchip_number);
reset role;
